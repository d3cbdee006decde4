use super::*;
use crate::takeover::RETURN;
use std::collections::HashSet;

/// The kernel's array of the sockets that share a port: whether each is the front's.
type Group = Vec<bool>;

/// `reuseport_detach_sock`: the last one moves into the hole.
fn end(group: &mut Group, number: usize) {
    group.swap_remove(number);
}

/// Returns every group that a server can make of this one by listening with more sockets, up to
/// so many in all, and by ending some.
fn made_of(first: Group, most: usize) -> HashSet<Group> {
    let mut seen = HashSet::from([first.clone()]);
    let mut open = vec![first];
    while let Some(group) = open.pop() {
        let mut next = Vec::new();
        if group.len() < most {
            next.push([group.as_slice(), &[false]].concat());
        }
        for number in (0..group.len()).filter(|number| !group[*number]) {
            let mut less = group.clone();
            end(&mut less, number);
            next.push(less);
        }
        for group in next {
            if seen.insert(group.clone()) {
                open.push(group);
            }
        }
    }
    seen
}

#[test]
fn the_number_that_gets_connections_is_the_fronts_whatever_the_server_does() {
    for servers in 1..=4 {
        let mut group = vec![false; servers];
        group.extend(vec![true; servers + 1]);
        let all = made_of(group.clone(), 12);
        assert!(all.len() > 20, "{}", all.len());
        assert!(all.iter().all(|group| group[servers]), "{servers}");
        // With one socket less there is a way to take connections from it.
        group.pop();
        assert!(made_of(group, 12).iter().any(|group| group.get(servers) != Some(&true)));
    }
}

#[test]
fn the_lowest_socket_of_the_front_stays_while_the_others_are_closed() {
    let mut group = vec![false; 2];
    group.extend(vec![true; 3]);
    for mut group in made_of(group, 10) {
        let lowest = group.iter().position(|own| *own).unwrap();
        while let Some(other) = (lowest + 1..group.len()).find(|number| group[*number]) {
            end(&mut group, other);
            assert!(group[lowest]);
        }
        assert_eq!(group.iter().filter(|own| **own).count(), 1);
    }
}

/// Runs a program on a packet with this source, for a random number.
fn run(program: &[Instruction], source: SocketAddr, random: u32) -> u32 {
    let (start, ports_at, bytes) = match source.ip() {
        IpAddr::V4(v4) => (12, 20, v4.octets().to_vec()),
        IpAddr::V6(v6) => (8, 40, v6.octets().to_vec()),
    };
    let (mut at, mut loaded) = (0, 0);
    loop {
        let i = program[at];
        match (i.code, i.k as i32) {
            (LOAD_WORD, k) if k == EXTENSIONS + RANDOM => loaded = random,
            (LOAD_WORD, k) => {
                let from = (k - NETWORK - start) as usize;
                loaded = u32::from_be_bytes(bytes[from..from + 4].try_into().unwrap());
            }
            (LOAD_HALF, k) => {
                assert_eq!(k, NETWORK + ports_at);
                loaded = u32::from(source.port());
            }
            (MODULO, k) => loaded %= k as u32,
            (JUMP_IF_EQUAL, _) => at += usize::from(if loaded == i.k { i.jt } else { i.jf }),
            (RETURN, k) => return k as u32,
            other => panic!("{other:?}"),
        }
        at += 1;
    }
}

#[test]
fn every_question_goes_to_its_number_and_everybody_else_to_the_front() {
    let ports: Vec<u16> = (40_000..40_600).collect();
    for (source, other) in [("192.0.2.1", "192.0.2.2"), ("fd00::1:2:3", "fd00::1:9:3")] {
        let (source, other): (IpAddr, IpAddr) = (source.parse().unwrap(), other.parse().unwrap());
        let program = Places { source, ports: &ports, others: 4_711 }.program();
        assert!(program.len() < 4_096);
        for (number, port) in (0..).zip(&ports) {
            assert_eq!(run(&program, SocketAddr::new(source, *port), 0), number);
            assert_eq!(run(&program, SocketAddr::new(other, *port), 0), 4_711);
        }
        assert_eq!(run(&program, SocketAddr::new(source, 39_999), 0), 4_711);
    }
}

#[test]
fn connections_are_spread_evenly_over_the_servers_sockets() {
    let client = "192.0.2.1:1".parse().unwrap();
    let program = evenly(&[3, 5, 9]).unwrap();
    let went: Vec<_> = (0..6).map(|random| run(&program, client, random)).collect();
    assert_eq!(went, [3, 5, 9, 3, 5, 9]);
    assert_eq!(run(&evenly(&[7]).unwrap(), client, 2), 7);
    assert!(evenly(&[]).is_err());
}

#[test]
fn a_server_that_does_not_share_its_port_is_left_alone() {
    // Another program's would be a server; this one is known as a front.
    let own = TcpListener::bind("127.0.0.31:0").unwrap();
    let address = own.local_addr().unwrap();
    assert_eq!(look(address).unwrap_err().code, "SG0136");
    drop(own);
    let joined = join(address);
    assert_eq!(joined.fault.unwrap().code, "SG0130");
    assert!(joined.sockets.is_empty());
}

#[test]
fn a_port_is_served_if_another_program_than_a_front_listens_there() {
    let held_by = |listener: TcpListener| {
        let mut command = std::process::Command::new("sleep");
        command.arg("20").stdin(std::os::fd::OwnedFd::from(listener)).spawn().unwrap()
    };
    let bind = || {
        let listener = TcpListener::bind("127.0.0.31:0").unwrap();
        (listener.local_addr().unwrap(), listener)
    };
    let ((first, listener), (second, other)) = (bind(), bind());
    let mut servers = [held_by(listener), held_by(other)];
    let (own, _listener) = bind();
    assert_eq!(unserved(&[first, second]), None);
    assert_eq!(unserved(&[first, own, second]), Some(own), "this program is the front's");
    let _ = servers[1].kill();
    servers[1].wait().unwrap();
    assert_eq!(unserved(&[first, second]), Some(second), "nobody is there");
    assert_eq!(unserved(&[]), None);
    let _ = servers[0].kill();
    servers[0].wait().unwrap();
}
