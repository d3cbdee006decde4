//! Two machines with a network each, and on each PHP behind nginx and where it keeps sessions.

use crate::site::free;
use segue_model::{Side, Sides};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where both machines reach the Redis that they share: an address of the source.
pub(crate) const SHARED: &str = "10.9.7.1:6379";
/// Each machine's own Redis.
pub(crate) const LOCAL: &str = "127.0.0.1:6379";
/// The memcached that both share, and each machine's own.
pub(crate) const SHARED_CACHE: &str = "10.9.7.1:11211";
pub(crate) const LOCAL_CACHE: &str = "127.0.0.1:11211";
/// Schemas of each machine's own MariaDB.
const SCHEMAS: [&str; 2] = ["shop", "other"];
const SIDES: [Side; 2] = [Side::Source, Side::Target];
const READY: Duration = Duration::from_secs(20);

/// A site: its name, and what its pool of PHP is told about sessions at each side.
#[derive(Clone)]
pub(crate) struct Pool {
    pub(crate) name: &'static str,
    pub(crate) settings: Sides<String>,
}

/// A child that ends with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        // Those with workers end them when they are asked, not when they are killed.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(5) {
            if self.0.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Both machines. The source is where the test is; the target is a network beside it.
pub(crate) struct Machines {
    folder: PathBuf,
    /// Where nginx serves each site of each side.
    pub(crate) web: BTreeMap<&'static str, Sides<SocketAddr>>,
    daemons: Vec<Daemon>,
    /// Whoever keeps the target's network; the last to end.
    beyond: Daemon,
}

/// Returns the newest of the files that fit, one folder's name unknown.
fn newest(above: &str, below: &str) -> PathBuf {
    let folders = fs::read_dir(above).unwrap_or_else(|e| panic!("{above}: {e}: {PACKAGES}"));
    let found = folders.filter_map(|one| Some(one.ok()?.path().join(below)));
    found.filter(|path| path.is_file()).max().unwrap_or_else(|| panic!("{above}: {PACKAGES}"))
}

const PACKAGES: &str = "install the packages php-fpm, php-redis, php-memcached and php-mysql";

/// Returns the configuration of PHP that Debian brings.
pub(crate) fn php_ini() -> PathBuf {
    newest("/etc/php", "fpm/php.ini")
}

fn done(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

impl Machines {
    /// Starts everything. To be called by a thread that lives as long as it does.
    pub(crate) fn start(folder: &Path, pools: &[Pool]) -> Self {
        let beyond = Self::other_network(&folder.join("network.log"));
        let web = pools.iter().map(|pool| (pool.name, Sides::from_fn(|_| free())));
        let mut machines =
            Self { folder: folder.to_owned(), web: web.collect(), daemons: Vec::new(), beyond };
        for side in SIDES {
            fs::create_dir_all(machines.home(side).join("pool.d")).unwrap();
        }
        machines.redis(Side::Source, SHARED);
        machines.memcached(Side::Source, SHARED_CACHE);
        for side in SIDES {
            machines.redis(side, LOCAL);
            machines.memcached(side, LOCAL_CACHE);
            machines.php(side, pools);
        }
        machines.nginx();
        machines.databases();
        machines.wait(pools);
        machines
    }

    fn home(&self, side: Side) -> PathBuf {
        self.folder.join(side.as_str())
    }

    /// Returns the folder of a site.
    pub(crate) fn root(&self, side: Side, site: &str) -> PathBuf {
        self.home(side).join("sites").join(site)
    }

    /// Returns the file with the settings of a site's pool.
    pub(crate) fn pool(&self, side: Side, site: &str) -> PathBuf {
        self.home(side).join("pool.d").join(format!("{site}.conf"))
    }

    /// Copies a site's folder to the target, as a tree that moves.
    pub(crate) fn copy_tree(&self, site: &str) {
        let (from, to) = (self.root(Side::Source, site), self.root(Side::Target, site));
        done(Command::new("cp").arg("-a").arg(from.join(".")).arg(to));
    }

    /// Copies a schema to the target, as a database that moves.
    pub(crate) fn copy_schema(&self, schema: &str) {
        let [from, to] = SIDES.map(|side| self.home(side).join("db.sock"));
        let script = format!(
            "mariadb-dump --no-defaults -u root -S '{}' {schema} | \
             mariadb --no-defaults -u root -S '{}' {schema}",
            from.display(),
            to.display()
        );
        done(Command::new("sh").args(["-ec", &script]));
    }

    /// A network of its own, with a wire to this one.
    fn other_network(log: &Path) -> Daemon {
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        let beyond = spawn(log, Command::new("unshare").args(["--net", "sleep", "600"]));
        let network = format!("/proc/{}/ns/net", beyond.0.id());
        until("the network is there", || fs::read_link(&network).is_ok_and(|at| at != own));
        let script = "ip link add segue-a type veth peer name segue-b netns \"$1\"\n\
                      ip address add 10.9.7.1/24 dev segue-a\nip link set segue-a up\n\
                      nsenter --net=/proc/$1/ns/net -- sh -ec 'ip link set lo up; \
                      ip address add 10.9.7.2/24 dev segue-b; ip link set segue-b up'";
        let id = beyond.0.id().to_string();
        done(Command::new("sh").args(["-ec", script, "sh", &id]));
        beyond
    }

    /// Starts a program on the machine of a side.
    fn run(&mut self, side: Side, name: &str, words: &[&str]) {
        let mut command = match side {
            Side::Source => Command::new(words[0]),
            Side::Target => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net=/proc/{}/ns/net", self.beyond.0.id()));
                command.arg("--").arg(words[0]);
                command
            }
        };
        command.args(&words[1..]);
        let log = self.home(side).join(format!("{name}.log"));
        self.daemons.push(spawn(&log, &mut command));
    }

    fn redis(&mut self, side: Side, address: &str) {
        let (ip, port) = address.split_once(':').unwrap();
        let words = ["redis-server", "--bind", ip, "--port", port, "--protected-mode", "no"];
        self.run(side, "redis", &[&words[..], &["--save", ""]].concat());
    }

    fn memcached(&mut self, side: Side, address: &str) {
        let (ip, port) = address.split_once(':').unwrap();
        // Said twice, `-v` has it write that it listens.
        let words = ["memcached", "-u", "root", "-l", ip, "-p", port, "-m", "16", "-vv"];
        self.run(side, "memcached", &words);
    }

    fn php(&mut self, side: Side, pools: &[Pool]) {
        let home = self.home(side);
        let at = home.display();
        for pool in pools {
            let (name, settings) = (pool.name, pool.settings.get(side));
            let root = self.root(side, name);
            fs::create_dir_all(&root).unwrap();
            fs::write(root.join("index.php"), include_str!("page.php")).unwrap();
            let text = format!(
                "[{name}]\nuser = root\ngroup = root\nlisten = {at}/{name}.sock\npm = ondemand\n\
                 pm.max_children = 2\nphp_admin_flag[redis.session.locking_enabled] = on\n\
                 php_admin_value[redis.session.lock_wait_time] = 2000\n\
                 php_admin_value[redis.session.lock_retries] = -1\n; php_admin_value[session.save_handler] = nobody\n\
                 php_admin_value[pdo_mysql.default_socket] = {at}/db.sock\n{settings}\n"
            );
            fs::write(self.pool(side, name), text).unwrap();
        }
        let conf = home.join("php-fpm.conf");
        let text = format!(
            "[global]\ndaemonize = no\nerror_log = {at}/php.log\ninclude = {at}/pool.d/*.conf\n"
        );
        fs::write(&conf, text).unwrap();
        let program = newest_program();
        let words = [&*program, "-R", "--nodaemonize", "--fpm-config", conf.to_str().unwrap()];
        self.run(side, "php", &words);
    }

    /// One for both: what it speaks to is a socket in a folder, which no network parts.
    fn nginx(&mut self) {
        let at = self.folder.display();
        let mut servers = String::new();
        for (site, web) in &self.web {
            for side in SIDES {
                let (listen, root) = (web.get(side), self.root(side, site));
                let socket = self.home(side).join(format!("{site}.sock"));
                let (root, socket) = (root.display(), socket.display());
                writeln!(
                    servers,
                    "server {{ listen {listen}; location / {{ include /etc/nginx/fastcgi_params; \
                     fastcgi_param SCRIPT_FILENAME {root}/index.php; fastcgi_pass unix:{socket}; \
                     }} }}"
                )
                .unwrap();
            }
        }
        let text = format!(
            "user root; daemon off; pid {at}/nginx.pid; error_log {at}/nginx.log;\n\
             events {{ worker_connections 256; }}\nhttp {{\n access_log off;\n \
             client_body_temp_path {at}/b; proxy_temp_path {at}/p; fastcgi_temp_path {at}/f; \
             uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n{servers}}}\n"
        );
        let conf = self.folder.join("nginx.conf");
        fs::write(&conf, text).unwrap();
        self.run(
            Side::Source,
            "nginx",
            &["nginx", "-p", &at.to_string(), "-c", conf.to_str().unwrap()],
        );
    }

    fn databases(&mut self) {
        let data = Sides::from_fn(|side| self.home(side).join("data"));
        done(
            Command::new("mariadb-install-db")
                .args(["--no-defaults", "--user=root", "--skip-test-db", "--skip-name-resolve"])
                .args(["--auth-root-authentication-method=normal", "--innodb-log-file-size=8M"])
                .arg(format!("--datadir={}", data.source.display())),
        );
        done(Command::new("cp").arg("-a").arg(&data.source).arg(&data.target));
        for side in SIDES {
            let home = self.home(side);
            let home = home.display();
            let place = format!("--datadir={home}/data");
            let (socket, pid) =
                (format!("--socket={home}/db.sock"), format!("--pid-file={home}/db.pid"));
            let words = ["mariadbd", "--no-defaults", "--user=root", "--skip-networking"];
            let more = ["--innodb-log-file-size=8M", "--innodb-buffer-pool-size=16M"];
            let tmp = format!("--tmpdir={home}");
            self.run(side, "db", &[&words[..], &more, &[&place, &socket, &pid, &tmp]].concat());
        }
        let tables = SCHEMAS.map(|schema| {
            format!(
                "CREATE DATABASE {schema}; CREATE TABLE {schema}.x7_session \
                 (session_id VARCHAR(64) PRIMARY KEY, data TEXT);"
            )
        });
        for side in SIDES {
            let socket = self.home(side).join("db.sock");
            until("MariaDB answers", || {
                let mut ask = Command::new("mariadb");
                ask.args(["--no-defaults", "-u", "root", "-S"]).arg(&socket);
                ask.args(["-e", &tables.concat()]).output().unwrap().status.success()
            });
        }
    }

    /// Waits until every pool has its socket, and nginx, Redis and memcached answer.
    fn wait(&self, pools: &[Pool]) {
        for side in SIDES {
            for pool in pools {
                let socket = self.home(side).join(format!("{}.sock", pool.name));
                until("PHP is there", || socket.exists());
            }
        }
        let web = self.web.values().map(|web| web.source);
        let stores = [SHARED, LOCAL, SHARED_CACHE, LOCAL_CACHE];
        for address in web.chain(stores.map(|store| store.parse().unwrap())) {
            until("it can be connected to", || std::net::TcpStream::connect(address).is_ok());
        }
        // What listens in the target's network only says so itself.
        for (name, line) in [("redis", "Ready to accept"), ("memcached", "server listening")] {
            let log = self.home(Side::Target).join(format!("{name}.log"));
            let ready = || fs::read_to_string(&log).is_ok_and(|log| log.contains(line));
            until("the target's store is there", ready);
        }
    }
}

fn newest_program() -> String {
    let programs = fs::read_dir("/usr/sbin").unwrap();
    let names = programs.filter_map(|one| one.ok()?.file_name().into_string().ok());
    let newest = names.filter(|name| name.starts_with("php-fpm")).max();
    format!("/usr/sbin/{}", newest.unwrap_or_else(|| panic!("{PACKAGES}")))
}

/// Starts a program that ends with this thread.
fn spawn(log: &Path, command: &mut Command) -> Daemon {
    let log = File::options().create(true).append(true).open(log).unwrap();
    let mut tied = Command::new("setpriv");
    tied.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program()).args(command.get_args());
    tied.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    Daemon(tied.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")))
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < READY, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
