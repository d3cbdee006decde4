-- What HAProxy does for Segue: it keeps a unit's requests waiting, and counts answer times.
-- Written by `segue fragments`; loaded with `lua-load`. Times are microseconds of the wall clock.
local folder = "@FOLDER@"
local holds = Map.new(folder .. "/holds.map", Map._str)
local units = {}

-- Pause between two looks of a request that waits, milliseconds. Many that look often would
-- keep others waiting.
local LOOK_LEAST, LOOK_MOST = 10, 100
-- A waiting request that has not looked for so long is gone, with its client.
local GONE_MS = 4 * LOOK_MOST
-- Buckets of the histogram of answer times: each ends a tenth above the one before.
local STEP = math.log(1.1)

local function now_us()
    local now = core.now()
    return now.sec * 1000000 + now.usec
end

local function of(name)
    local unit = units[name]
    if not unit then
        unit = {
            id = "-", held = 0, longest = 0, refused = 0, serial = 0,
            waiting = {}, count = 0, counted = 0,
            times = { source = {}, target = {} }, slowest = { source = 0, target = 0 },
        }
        units[name] = unit
    end
    return unit
end

-- Counts what waits; those that left are let go. Not more often than it can change much.
local function waiting(unit, now_ms)
    if now_ms - unit.counted > LOOK_LEAST then
        local count = 0
        for serial, seen in pairs(unit.waiting) do
            if now_ms - seen > GONE_MS then unit.waiting[serial] = nil else count = count + 1 end
        end
        unit.count, unit.counted = count, now_ms
    end
    return unit.count
end

local function refuse(txn, unit, why)
    unit.refused = unit.refused + 1
    local reply = txn:reply({ status = 503, reason = "Service Unavailable" })
    reply:add_header("retry-after", "1")
    reply:add_header("content-type", "text/plain")
    reply:set_body(why .. "\n")
    txn:done(reply)
end

local function hold(txn)
    local name = txn:get_var("txn.segue_unit")
    local unit, came, serial = of(name), now_us(), nil
    while true do
        local text = holds:lookup(name) or ""
        local till, age, most, id = text:match("^(%d+),(%d+),(%d+),(.+)$")
        local now = now_us()
        local now_ms = now // 1000
        if not till or now_ms >= tonumber(till) then break end
        if not serial then
            if unit.id ~= id then
                unit.id, unit.held, unit.longest, unit.refused = id, 0, 0, 0
            end
            if waiting(unit, now_ms) >= tonumber(most) then
                return refuse(txn, unit, "too many requests wait while the site is being moved")
            end
            unit.serial = unit.serial + 1
            serial = unit.serial
            unit.held, unit.count = unit.held + 1, unit.count + 1
        end
        unit.waiting[serial] = now_ms
        if now - came >= tonumber(age) * 1000 then
            unit.waiting[serial] = nil
            return refuse(txn, unit, "the site is being moved; try again in a moment")
        end
        core.msleep(math.max(LOOK_LEAST, math.min(LOOK_MOST, waiting(unit, now_ms) // 4)))
    end
    local now = now_us()
    if serial then
        unit.waiting[serial] = nil
        unit.longest = math.max(unit.longest, now - came)
    end
    txn:set_var("txn.segue_came", came)
    txn:set_var("txn.segue_began", now)
end

local function seen(txn)
    local began, came = txn:get_var("txn.segue_began"), txn:get_var("txn.segue_came")
    local backend = txn:get_var("txn.segue_backend")
    if not began or not backend then return end
    local side, unit, now = backend:match("_(%a+)$"), of(txn:get_var("txn.segue_unit")), now_us()
    local times = unit.times[side]
    if not times then return end
    local bucket = math.ceil(math.log(math.max(1, now - began)) / STEP)
    times[bucket] = (times[bucket] or 0) + 1
    unit.slowest[side] = math.max(unit.slowest[side], now - came)
end

local function show(applet, _, _, name)
    local unit = of(name or "")
    applet:send(string.format("id %s\nwaiting %d\nheld %d\nlongest_us %d\nrefused %d\n",
        unit.id, waiting(unit, now_us() // 1000), unit.held, unit.longest, unit.refused))
    for side, times in pairs(unit.times) do
        applet:send(string.format("slowest_us %s %d\n", side, unit.slowest[side]))
        for bucket, count in pairs(times) do
            applet:send(string.format("times %s %d %d\n", side, bucket, count))
        end
    end
end

core.register_action("segue_hold", { "http-req" }, hold, 0)
core.register_action("segue_seen", { "http-res" }, seen, 0)
core.register_cli({ "show", "segue" }, "show segue UNIT : what waits, and answer times", show)
