use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lowcarb::measure::process::{Identity, PROC, Tree};

use crate::Files;

/// What one line of `/proc/PID/stat` is made of.
struct Line<'a> {
    name: &'a str,
    state: char,
    parent: u32,
    group: u32,
    /// User, system, collected user, collected system.
    ticks: [u64; 4],
    threads: u32,
    started: u64,
    pages: i64,
}

const PLAIN: Line<'static> = Line { name: "train", state: 'R', parent: 1, group: 100, ticks: [0; 4], threads: 1, started: 5, pages: 0 };

fn put(files: &Files, pid: u32, line: &Line) {
    let Line { name, state, parent, group, ticks: [user, system, waited_user, waited_system], threads, started, pages } = line;
    let text = format!(
        "{pid} ({name}) {state} {parent} {group} {group} 0 -1 4194304 9 9 9 9 {user} {system} {waited_user} {waited_system} 20 0 {threads} 0 \
         {started} 99999 {pages} 18446744073709551615 0 0 0\n"
    );
    files.write(&format!("{pid}/stat"), text);
}

fn processes(list: &[(u32, Line)]) -> Files {
    let files = Files::new();
    files.write("meminfo", "").write("self/stat", "");
    put(&files, 1, &Line { parent: 0, group: 1, ticks: [9999; 4], pages: 9999, ..PLAIN });
    for (pid, line) in list {
        put(&files, *pid, line);
    }
    files
}

/// CPU time in ticks of 1/100 s, as Linux counts on every platform, and processes.
fn read(tree: &mut Tree) -> (u64, usize) {
    let usage = tree.read().unwrap();
    ((usage.cpu_s * 100.0).round() as u64, usage.processes)
}

#[test]
fn descendants_and_the_group_count_and_nobody_else() {
    let files = processes(&[
        (100, Line { ticks: [10, 5, 0, 0], pages: 3, ..PLAIN }),
        (200, Line { parent: 100, group: 200, ticks: [20, 0, 0, 0], pages: 4, ..PLAIN }),
        (300, Line { parent: 200, group: 200, ticks: [40, 0, 2, 1], pages: 5, ..PLAIN }),
        // Its parent has ended, but it stays in the group.
        (400, Line { parent: 1, ticks: [80, 0, 0, 0], pages: 6, ..PLAIN }),
        (500, Line { parent: 1, group: 500, ticks: [7000, 0, 0, 0], pages: 7000, ..PLAIN }),
        (600, Line { parent: 500, group: 200, ticks: [7000, 0, 0, 0], pages: 7000, ..PLAIN }),
    ]);
    let mut tree = Tree::new(files.root(), 100).unwrap();
    assert_eq!(read(&mut tree), (15 + 20 + 43 + 80, 4));
    let page = tree.read().unwrap().resident_bytes / 18;
    assert!(page.is_power_of_two() && page >= 4096, "{page}");
}

#[test]
fn the_group_of_another_is_not_the_tree_of_a_member() {
    let files = processes(&[(100, Line { group: 90, ..PLAIN }), (101, Line { group: 90, ticks: [50, 0, 0, 0], ..PLAIN })]);
    assert_eq!(read(&mut Tree::new(files.root(), 100).unwrap()), (0, 1));
}

#[test]
fn names_may_hold_blanks_parentheses_line_ends_and_broken_text() {
    for name in ["a b", ") R 1 (", "x)) (y", "one\ntwo", ":-)", ""] {
        let files = processes(&[(100, Line { name, ticks: [7, 0, 0, 0], ..PLAIN })]);
        assert_eq!(read(&mut Tree::new(files.root(), 100).unwrap()), (7, 1), "{name}");
    }
    let files = processes(&[]);
    files.write("100/stat", b"100 (\xff\xfe) R 1 100 100 0 -1 0 0 0 0 0 8 0 0 0 20 0 1 0 5 0 0 0\n");
    assert_eq!(read(&mut Tree::new(files.root(), 100).unwrap()), (8, 1));
}

#[test]
fn a_child_that_was_collected_counts_once() {
    let files = processes(&[
        (100, Line { ticks: [10, 0, 0, 0], ..PLAIN }),
        (200, Line { parent: 100, ticks: [30, 0, 0, 0], ..PLAIN }),
        (300, Line { parent: 200, ticks: [60, 0, 0, 0], ..PLAIN }),
    ]);
    let mut tree = Tree::new(files.root(), 100).unwrap();
    assert_eq!(read(&mut tree), (100, 3));
    // 300 ended after 5 more ticks and 200 collected it; then 200 ended and 100 collected both.
    files.remove("300");
    put(&files, 200, &Line { parent: 100, ticks: [31, 0, 65, 0], ..PLAIN });
    assert_eq!(read(&mut tree), (106, 2));
    files.remove("200");
    put(&files, 100, &Line { ticks: [11, 0, 97, 0], ..PLAIN });
    assert_eq!(read(&mut tree), (108, 1));
    assert_eq!(read(&mut tree), (108, 1));
}

#[test]
fn a_whole_line_that_ends_between_two_readings_counts_once() {
    let files = processes(&[
        (100, Line { ticks: [10, 0, 0, 0], ..PLAIN }),
        (200, Line { parent: 100, ticks: [30, 0, 0, 0], ..PLAIN }),
        (300, Line { parent: 200, ticks: [60, 0, 0, 0], ..PLAIN }),
    ]);
    let mut tree = Tree::new(files.root(), 100).unwrap();
    read(&mut tree);
    files.remove("200");
    files.remove("300");
    put(&files, 100, &Line { ticks: [12, 0, 95, 0], ..PLAIN });
    assert_eq!(read(&mut tree), (107, 1));
}

#[test]
fn what_nobody_in_the_tree_collected_is_kept() {
    let files = processes(&[
        (100, Line { ticks: [10, 0, 0, 0], ..PLAIN }),
        (200, Line { parent: 100, ticks: [30, 0, 0, 0], ..PLAIN }),
        (300, Line { parent: 1, ticks: [60, 0, 0, 0], ..PLAIN }),
    ]);
    let mut tree = Tree::new(files.root(), 100).unwrap();
    assert_eq!(read(&mut tree), (100, 3));
    // The orphan ends, and a child whose end its parent ignores.
    files.remove("300");
    files.remove("200");
    put(&files, 100, &Line { ticks: [14, 0, 0, 0], ..PLAIN });
    assert_eq!(read(&mut tree).1, 1);
    assert_eq!(read(&mut tree).0, 100);
    files.remove("100");
    assert_eq!(read(&mut tree), (100, 0));
    assert!(!tree.is_alive());
}

#[test]
fn a_member_stays_one_when_it_loses_parent_and_group() {
    let files = processes(&[(100, PLAIN), (200, Line { parent: 100, group: 200, ticks: [5, 0, 0, 0], ..PLAIN })]);
    let mut tree = Tree::new(files.root(), 100).unwrap();
    assert_eq!(read(&mut tree), (5, 2));
    files.remove("100");
    put(&files, 200, &Line { parent: 1, group: 200, ticks: [9, 0, 0, 0], ..PLAIN });
    assert_eq!(read(&mut tree), (9, 1));
}

#[test]
fn another_process_of_the_same_number_is_a_stranger() {
    let files = processes(&[(100, Line { ticks: [10, 0, 0, 0], ..PLAIN })]);
    let mut tree = Tree::new(files.root(), 100).unwrap();
    read(&mut tree);
    put(&files, 100, &Line { started: 6, ticks: [5000, 0, 0, 0], ..PLAIN });
    put(&files, 101, &Line { parent: 100, started: 7, ticks: [5000, 0, 0, 0], ..PLAIN });
    assert!(!tree.is_alive());
    assert_eq!(read(&mut tree), (10, 0));
}

#[test]
fn a_process_that_waits_to_be_collected_has_ended_unless_threads_go_on() {
    let files = processes(&[(100, Line { state: 'Z', ticks: [10, 0, 0, 0], ..PLAIN })]);
    let mut tree = Tree::new(files.root(), 100).unwrap();
    assert_eq!((read(&mut tree), tree.is_alive()), ((10, 0), false));
    put(&files, 100, &Line { state: 'Z', threads: 4, ticks: [12, 0, 0, 0], ..PLAIN });
    assert_eq!((read(&mut tree), tree.is_alive()), ((12, 1), true));
}

#[test]
fn broken_files_and_circles_do_not_stop_a_reading() {
    let files = processes(&[
        (100, Line { parent: 200, ticks: [1, 0, 0, 0], ..PLAIN }),
        (200, Line { parent: 100, ticks: [2, 0, 0, 0], ..PLAIN }),
        (300, Line { parent: 300, ..PLAIN }),
    ]);
    files.write("400/stat", "").write("500/stat", "500 (x").write("600/stat", "600 (x) R").write("700/stat", vec![b'9'; 5000]);
    files.write("4294967296/stat", "").write("800/other", "");
    let mut tree = Tree::new(files.root(), 100).unwrap();
    assert_eq!(read(&mut tree), (3, 3));
    files.remove("100");
    files.remove("200");
    assert_eq!(read(&mut tree), (3, 1));
    assert!(Tree::new(files.root(), 400).is_err() && Tree::new(files.root(), 12345).is_err());
    assert!(Identity::of(files.root(), 500).is_err());
    let gone = files.root().join("nowhere");
    assert!(Tree::new(&gone, 1).is_err());
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // What it waits with ends too, once nobody can write to it.
        drop(self.0.stdin.take());
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn shell(script: &str) -> Running {
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    Running(command.spawn().unwrap())
}

fn until(mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}

/// A shell collects two children that work, one after the other, then waits.
#[test]
fn the_time_of_real_children_is_found_after_their_end() {
    let work = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
    let mut child = shell(&format!("sh -c '{work}'; sh -c '{work}'; cat"));
    let proc = Path::new(PROC);
    let mut tree = Tree::new(proc, child.0.id()).unwrap();
    let identity = Identity::of(proc, child.0.id()).unwrap();
    let mut last = 0.0;
    let mut readings = 0;
    // Only the shell and cat are left; the shell's own file then says how much its children took.
    assert!(until(|| {
        let usage = tree.read().unwrap();
        assert!(usage.cpu_s >= last, "{} after {last}", usage.cpu_s);
        last = usage.cpu_s;
        readings += 1;
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.0.id()));
        let waits = children.is_ok_and(|children| {
            let name = std::fs::read_to_string(format!("/proc/{}/comm", children.trim()));
            name.is_ok_and(|name| name.trim() == "cat")
        });
        waits && readings > 3
    }));
    let usage = tree.read().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.0.id())).unwrap();
    let ticks: u64 = stat.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(4).map(|field| field.parse::<u64>().unwrap()).sum();
    assert!(ticks > 5, "{ticks}");
    assert!((usage.cpu_s - ticks as f64 / 100.0).abs() < 0.05, "{usage:?} against {ticks} ticks");
    assert_eq!(usage.processes, 2);
    assert!(usage.resident_bytes > 100_000, "{usage:?}");
    assert!(identity.is_alive(proc) && tree.is_alive());
    child.0.kill().unwrap();
    assert!(until(|| !tree.is_alive()));
    child.0.wait().unwrap();
    assert!(!identity.is_alive(proc));
    assert!(tree.read().unwrap().cpu_s >= usage.cpu_s);
}

/// Many short children: none may count twice, whenever a reading falls.
#[test]
fn children_that_come_and_go_are_not_counted_twice() {
    let mut child = shell("i=0; while [ $i -lt 400 ]; do sh -c 'j=0; while [ $j -lt 2000 ]; do j=$((j+1)); done'; i=$((i+1)); done");
    let mut tree = Tree::new(Path::new(PROC), child.0.id()).unwrap();
    let stat = format!("/proc/{}/stat", child.0.id());
    let mut last = 0.0;
    while child.0.try_wait().unwrap().is_none() {
        last = tree.read().unwrap().cpu_s;
        let Ok(text) = std::fs::read_to_string(&stat) else { break };
        let ticks: u64 =
            text.rsplit_once(')').unwrap().1.split_whitespace().skip(11).take(4).map(|field| field.parse::<u64>().unwrap()).sum();
        // What the shell holds after the reading, and one child of a few ticks beside it.
        assert!(last <= ticks as f64 / 100.0 + 0.10, "{last} s against {ticks} ticks");
    }
    assert!(last > 0.1, "{last}");
}

/// `cargo test --release --test host -- --ignored --nocapture` prints what a reading costs.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_reading() {
    for count in [0, 300] {
        let mut child = shell(&format!("i=0; while [ $i -lt {count} ]; do sleep 15 & i=$((i+1)); done; sleep 15"));
        std::thread::sleep(Duration::from_secs(2));
        let mut tree = Tree::new(Path::new(PROC), child.0.id()).unwrap();
        let others = std::fs::read_dir(PROC).unwrap().flatten().filter(|e| e.file_name().to_string_lossy().parse::<u32>().is_ok()).count();
        let mut times: Vec<Duration> = (0..200)
            .map(|_| {
                let start = Instant::now();
                tree.read().unwrap();
                start.elapsed()
            })
            .collect();
        times.sort();
        let usage = tree.read().unwrap();
        println!("{} members of {others} processes: median {:?}, worst of 200 {:?}", usage.processes, times[100], times[199]);
        child.0.wait().unwrap();
    }
}
