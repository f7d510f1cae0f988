//! What a measurement survives: collectors that are killed, full disks, signals, and many ranks on one node.

mod common;

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::Workplace;
use common::fake_nvml::{library, measure, now, script};
use serde_json::Value;

fn show(workplace: &Workplace, session: &str) -> Value {
    workplace.json(&["session", "show", session, "--format", "json"])
}

fn talk(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `lowcarb measure` in the background.
fn start(workplace: &Workplace, arguments: &[&str], variables: &[(&str, String)]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lowcarb"));
    command.current_dir(workplace.path("")).args(["measure", "--powercap", "/nonexistent", "--nvml-lib"]).arg(library());
    command.args(arguments).env("FAKE_NVML", workplace.path("script")).envs(variables.iter().map(|(key, value)| (*key, value.as_str())));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(name: &str, pid: &str) {
    Command::new("kill").args([&format!("-{name}"), pid]).status().unwrap();
}

#[track_caller]
fn wait_for(path: &Path) -> String {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        match std::fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text,
            _ => assert!(Instant::now() < until, "{} never came", path.display()),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn fifty_killed_collectors_leave_fifty_sessions() {
    const INTERVAL: f64 = 0.1;
    let workers: Vec<_> =
        (0..5).map(|worker| std::thread::spawn(move || (0..10).map(|number| killed(10 * worker + number)).collect::<Vec<f64>>())).collect();
    let lost: Vec<f64> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
    let worst = lost.iter().copied().fold(0.0, f64::max);
    eprintln!(
        "seconds lost by {} killed collectors: mean {:.3}, worst {worst:.3}",
        lost.len(),
        lost.iter().sum::<f64>() / lost.len() as f64
    );
    // One interval, its jitter, and what a busy machine takes to deliver a signal.
    assert!(worst < INTERVAL * 1.25 + 0.25, "{worst}");
}

/// Kills a collector at a moment that differs from run to run; how many seconds before that its last reading is.
fn killed(number: u64) -> f64 {
    let workplace = Workplace::new();
    script(&workplace, &["trace=wave:90,400,0.3,0.1", "trace=flat:70"]);
    let program = "echo $$ > pid; echo begin a >> $LOWCARB_MARKS; exec sleep 30";
    let mut collector = start(&workplace, &["--idle", "0", "--out", "s", "--", "sh", "-c", program], &[]);
    let child = wait_for(&workplace.path("pid"));
    std::thread::sleep(Duration::from_millis(number * 7919 % 400));
    let at = now();
    collector.kill().unwrap();
    collector.wait().unwrap();
    signal("KILL", child.trim());
    let shown = show(&workplace, "s");
    assert_eq!((shown["state"].as_str(), shown["exit_code"].is_null()), (Some("recovered"), true));
    let ended = shown["started_unix_s"].as_f64().unwrap();
    let last = std::fs::read_to_string(workplace.path("s/samples.csv")).unwrap();
    let whole = &last[..last.rfind('\n').unwrap()];
    let last: f64 = whole.lines().last().unwrap().split(',').next().unwrap().parse().unwrap();
    let duration = shown["duration_s"].as_f64().unwrap();
    let energy = shown["gpus"][1]["energy_j"].as_f64().unwrap();
    assert!((energy - 70.0 * duration).abs() < 0.7 + 0.01 * energy, "{energy} J in {duration} s at 70 W");
    let check = workplace.run(&["session", "check", "s"]);
    assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stdout));
    at - ended - last
}

#[test]
fn a_full_disk_does_not_stop_the_program_and_the_exit_says_so() {
    let workplace = Workplace::new();
    script(&workplace, &["trace=flat:100", "trace=flat:100", "trace=flat:100", "trace=flat:100"]);
    // No file may grow beyond 4 KiB, which is an error of the write as a full disk is.
    let program = format!(
        "ulimit -f 8; exec {} measure --powercap /nonexistent --nvml-lib {} --interval 20 --idle 0 --out s -- sh -c 'sleep 1.5; echo done; exit {{}}'",
        env!("CARGO_BIN_EXE_lowcarb"),
        library().display()
    );
    for (code, expected) in [("0", 1), ("5", 5)] {
        std::fs::remove_dir_all(workplace.path("s")).ok();
        let output = Command::new("sh")
            .args(["-c", &program.replace("{}", code)])
            .current_dir(workplace.path(""))
            .env("FAKE_NVML", workplace.path("script"))
            .output()
            .unwrap();
        assert_eq!(output.stdout, b"done\n");
        assert_eq!(output.status.code(), Some(expected), "{}", talk(&output));
        assert!(talk(&output).contains("readings cannot be written"), "{}", talk(&output));
        assert!(talk(&output).contains("lines are not on disk"), "{}", talk(&output));
        let shown = show(&workplace, "s");
        assert_eq!(shown["state"], "recovered");
        let energy = shown["gpus"][0]["energy_j"].as_f64().unwrap();
        let covered = shown["gpus"][0]["covered_s"].as_f64().unwrap();
        assert!(covered > 0.1 && covered < 1.4 && (energy - 100.0 * covered).abs() < 2.0, "{energy} J in {covered} s");
    }
}

#[test]
fn signals_reach_the_program_and_its_children() {
    let workplace = Workplace::new();
    script(&workplace, &["trace=flat:100"]);
    let program = "trap 'echo term; exit 9' TERM; trap 'echo usr1' USR1; echo $$ > pid; while :; do sleep 0.02; done";
    let mut collector = start(&workplace, &["--idle", "0", "--out", "s", "--", "sh", "-c", program], &[]);
    wait_for(&workplace.path("pid"));
    signal("USR1", &collector.id().to_string());
    std::thread::sleep(Duration::from_millis(200));
    signal("TERM", &collector.id().to_string());
    let mut said = String::new();
    collector.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((collector.wait().unwrap().code(), said.as_str()), (Some(9), "usr1\nterm\n"));
    let shown = show(&workplace, "s");
    assert_eq!((shown["state"].as_str(), shown["exit_code"].as_i64()), (Some("complete"), Some(9)));
    // Nothing was run yet: nothing is left.
    let mut collector = start(&workplace, &["--idle", "30", "--out", "t", "--", "touch", "ran"], &[]);
    wait_for(&workplace.path("t/samples.csv"));
    signal("INT", &collector.id().to_string());
    assert_eq!(collector.wait().unwrap().code(), Some(130));
    assert!(!workplace.path("t").exists() && !workplace.path("ran").exists());
}

#[test]
fn eight_ranks_of_a_node_are_one_session() {
    let workplace = Workplace::new();
    script(&workplace, &["trace=flat:100", "trace=flat:300"]);
    let program = "echo begin train >> $LOWCARB_MARKS; sleep 1; echo ran >> ranks";
    let ranks: Vec<Child> = (0..8u32)
        .map(|rank| {
            let variables = [
                ("LOCAL_RANK", rank.to_string()),
                ("RANK", rank.to_string()),
                ("LOCAL_WORLD_SIZE", "8".into()),
                ("WORLD_SIZE", "8".into()),
            ];
            start(&workplace, &["--idle", "0.3", "--out", "s", "--", "sh", "-c", program], &variables)
        })
        .collect();
    for rank in ranks {
        let output = rank.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", talk(&output));
    }
    assert_eq!(std::fs::read_to_string(workplace.path("ranks")).unwrap().lines().count(), 8);
    let shown = show(&workplace, "s");
    assert_eq!(shown["gpus"].as_array().unwrap().len(), 2);
    let (energy, duration) = (shown["energy_j"].as_f64().unwrap(), shown["duration_s"].as_f64().unwrap());
    assert!((energy / (400.0 * duration) - 1.0).abs() < 0.005, "{energy} J in {duration} s");
    assert!((duration - 1.0).abs() < 0.3, "{duration}");
    // Idle power is that of the idle machine: the other ranks waited for its end.
    assert!(!std::fs::read_to_string(workplace.path("s/events.jsonl")).unwrap().contains("paused"));
}

#[test]
fn ranks_of_several_nodes_are_a_session_each() {
    let workplace = Workplace::new();
    script(&workplace, &["trace=flat:100"]);
    let variables = [("LOCAL_RANK", "0".to_string()), ("LOCAL_WORLD_SIZE", "1".into()), ("WORLD_SIZE", "2".into())];
    let output = start(&workplace, &["--idle", "0", "--out", "s", "--", "sleep", "0.1"], &variables).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", talk(&output));
    let name = std::fs::read_dir(workplace.path("s")).unwrap().next().unwrap().unwrap().file_name();
    assert!(workplace.path("s").join(&name).join("seal.json").exists());
    assert_eq!(show(&workplace, "s")["host_name"], name.to_str().unwrap());
}

#[test]
fn a_process_a_while_or_level_power_can_be_measured() {
    let workplace = Workplace::new();
    script(&workplace, &["trace=flat:100"]);
    let mut sleeper = Command::new("sleep").arg("0.8").spawn().unwrap();
    let pid = sleeper.id().to_string();
    // The test is the sleeper's parent: it is gone once it has been waited for.
    let waiter = std::thread::spawn(move || sleeper.wait().unwrap());
    let code = |arguments: &[&str]| measure(&workplace, arguments).output().unwrap().status.code();
    assert_eq!(code(&["--idle", "0", "--pid", &pid, "--out", "a"]), Some(0));
    waiter.join().unwrap();
    let duration = |session: &str| show(&workplace, session)["duration_s"].as_f64().unwrap();
    assert!((0.3..1.2).contains(&duration("a")), "{}", duration("a"));
    assert_eq!(code(&["--idle", "0", "--duration", "0.5", "--out", "b"]), Some(0));
    assert!((duration("b") - 0.5).abs() < 0.2, "{}", duration("b"));
    // The program is ended, and that is no failure of it.
    assert_eq!(code(&["--idle", "0", "--duration", "0.5", "--out", "c", "--", "sleep", "60"]), Some(0));
    assert!((duration("c") - 0.5).abs() < 0.2, "{}", duration("c"));
    assert_eq!(show(&workplace, "c")["exit_code"], 143);
    assert_eq!(code(&["--idle", "0", "--until-steady", "--duration", "40", "--out", "d"]), Some(0));
    assert!((14.0..20.0).contains(&duration("d")), "{}", duration("d"));
    let output = measure(&workplace, &["--idle", "0", "--pid", "999999999", "--out", "e"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", talk(&output));
}

#[test]
fn a_changed_file_is_found() {
    let workplace = Workplace::new();
    script(&workplace, &["trace=flat:100"]);
    measure(&workplace, &["--idle", "0", "--out", "s", "--", "sleep", "0.3"]).assert().success();
    let check = || workplace.run(&["session", "check", "s"]);
    assert_eq!(check().status.code(), Some(0));
    let path = workplace.path("s/samples.csv");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("100.000", "100.001", 1)).unwrap();
    let output = check();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("s/samples.csv: it was changed after the session was sealed"), "{said}");
    let output = workplace.run(&["session", "check", "s", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let checked: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((checked["whole"].as_bool(), checked["sessions"][0]["defects"][0]["file"].as_str()), (Some(false), Some("samples.csv")));
    let codes = show(&workplace, "s")["faults"].to_string();
    assert!(codes.contains("file_defect"), "{codes}");
    let output = workplace.run(&["session", "show", "nowhere"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(talk(&output).contains("the folder of a session"), "{}", talk(&output));
}

#[test]
fn a_terminal_is_the_programs_while_it_runs() {
    let workplace = Workplace::new();
    script(&workplace, &["trace=flat:100"]);
    let program = "import os, pty, sys, time\n\
         pid, terminal = pty.fork()\n\
         if pid == 0:\n\
         \x20   os.execv(sys.argv[1], sys.argv[1:])\n\
         time.sleep(0.6)\n\
         os.write(terminal, b'hello\\n')\n\
         time.sleep(0.4)\n\
         os.write(terminal, b'\\x03')\n\
         said = b''\n\
         while True:\n\
         \x20   try:\n\
         \x20       said += os.read(terminal, 4096)\n\
         \x20   except OSError:\n\
         \x20       break\n\
         code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n\
         print(code, 'got hello' in said.decode(), 'interrupted' in said.decode(), '\\x1b' in said.decode())\n";
    workplace.write("terminal.py", program);
    let child = "trap 'echo interrupted; exit 6' INT; read line; echo got $line; while :; do sleep 0.05; done";
    let library = library().to_str().unwrap();
    let output = Command::new("python3")
        .args(["terminal.py", env!("CARGO_BIN_EXE_lowcarb"), "measure", "--powercap", "/nonexistent", "--nvml-lib", library])
        .args(["--idle", "0", "--live", "0.2", "--out", "s", "--", "sh", "-c", child])
        .current_dir(workplace.path(""))
        .env("FAKE_NVML", workplace.path("script"))
        .output();
    let Ok(output) = output else {
        eprintln!("not tried: python3 is not there to open a terminal");
        return;
    };
    assert_eq!(String::from_utf8_lossy(&output.stdout), "6 True True False\n", "{}", talk(&output));
    assert_eq!(show(&workplace, "s")["exit_code"], 6);
}

#[test]
fn a_driver_that_hangs_holds_up_neither_the_program_nor_its_signals() {
    let workplace = Workplace::new();
    script(&workplace, &["trace=flat:100 hang=1.0", "trace=flat:100"]);
    let begun = Instant::now();
    let program = "trap 'echo term; exit 9' TERM; (sleep 2; kill -TERM $PPID) & while :; do sleep 0.05; done";
    let output = measure(&workplace, &["--idle", "0", "--out", "s", "--", "sh", "-c", program]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(9), b"term\n".as_slice()), "{}", talk(&output));
    assert!(begun.elapsed() < Duration::from_secs(15));
    assert!(talk(&output).contains("the driver does not answer"), "{}", talk(&output));
    let shown = show(&workplace, "s");
    assert_eq!(shown["state"], "recovered");
    let covered = shown["gpus"][0]["covered_s"].as_f64().unwrap();
    assert!(covered > 0.2 && covered < 1.1, "{covered}");
}
