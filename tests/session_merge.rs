//! `lowcarb session merge`, and several sessions as one run: nothing counted twice, nothing lost, nothing altered.

mod common;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::Workplace;
use common::fake_nvml::{Trace, library, script};
use common::sessions::{IDLE, Node, START, node};
use serde_json::Value;

fn talk(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn show(workplace: &Workplace, session: &str) -> Value {
    workplace.json(&["session", "show", session, "--format", "json"])
}

/// Writes nodes under their names and merges them; what `merge` says.
fn merged(workplace: &Workplace, nodes: &[(&str, Node)]) -> Value {
    nodes.iter().for_each(|(name, node)| node.write(&workplace.path(name)));
    let names: Vec<&str> = nodes.iter().map(|(name, _)| *name).collect();
    let said = workplace.json(&[&["session", "merge", "--out", "m", "--format", "json"], &names[..]].concat());
    assert_eq!(said, show(workplace, "m"), "what merge says is what the folder says");
    said
}

#[track_caller]
fn close(value: &Value, truth: f64) {
    let value = value.as_f64().unwrap_or_else(|| panic!("no number: {value}"));
    assert!((value - truth).abs() <= 1e-3 * truth.abs().max(1.0), "{value}, not {truth}");
}

fn codes(shown: &Value) -> Vec<&str> {
    shown["faults"].as_array().unwrap().iter().map(|fault| fault["code"].as_str().unwrap()).collect()
}

fn bytes(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut out: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap())
        .map(|file| (file.file_name().to_string_lossy().into_owned(), std::fs::read(file.path()).unwrap()))
        .collect();
    out.sort();
    out
}

#[test]
fn two_nodes_that_really_ran_are_one_run() {
    let workplace = Workplace::new();
    let origin = script(&workplace, &["trace=wave:90,400,1.0,0.5", "trace=ramp:60,350,0.7 step=0.08"]);
    let start = |name: &str, gpu: &str, command: &str| {
        let mut all = Command::new(env!("CARGO_BIN_EXE_lowcarb"));
        all.current_dir(workplace.path("")).env("FAKE_NVML", workplace.path("script")).arg("measure").arg("--nvml-lib").arg(library());
        all.args(["--powercap", "/nonexistent", "--idle", "0.5", "--gpu", gpu, "--out", name, "--", "sh", "-c", command]);
        all.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mark = "m() { echo \"$*\" >> $LOWCARB_MARKS; }; m begin train; sleep 1; m step tokens=512; sleep 0.5; m end train; sleep 0.3";
    let (mut first, mut second) = (start("a", "0", mark), start("b", "1", "sleep 2; exit 3"));
    assert_eq!((first.wait().unwrap().code(), second.wait().unwrap().code()), (Some(0), Some(3)));

    let before = (bytes(&workplace.path("a")), bytes(&workplace.path("b")));
    let said = workplace.json(&["session", "merge", "a", "b", "--out", "m", "--format", "json"]);
    assert_eq!(said, show(&workplace, "m"));
    let (one, two) = (show(&workplace, "a"), show(&workplace, "b"));
    let joules = |shown: &Value| shown["energy_j"].as_f64().unwrap();
    close(&said["energy_j"], joules(&one) + joules(&two));
    assert_eq!((said["exit_code"].as_i64(), said["state"].as_str()), (Some(3), Some("complete")));
    // From the first start to the last end.
    let at = |shown: &Value, which: f64| shown["started_unix_s"].as_f64().unwrap() + 0.5 + which * shown["duration_s"].as_f64().unwrap();
    let (begin, end) = (at(&one, 0.0).min(at(&two, 0.0)), at(&one, 1.0).max(at(&two, 1.0)));
    assert!((said["duration_s"].as_f64().unwrap() - (end - begin)).abs() < 0.1, "{}", said["duration_s"]);
    // The phase that one node marked, on the accelerators of both.
    let manifest: Value = serde_json::from_slice(&std::fs::read(workplace.path("a/manifest.json")).unwrap()).unwrap();
    let events = std::fs::read_to_string(workplace.path("a/events.jsonl")).unwrap();
    let marked = |word: &str| {
        let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let seen = events.into_iter().find(|event| event["line"].as_str().is_some_and(|line| line.starts_with(word))).unwrap();
        manifest["started_unix_s"].as_f64().unwrap() - origin + seen["t_s"].as_f64().unwrap()
    };
    let gpus = said["gpus"].as_array().unwrap();
    assert_eq!(gpus.len(), 2);
    for gpu in gpus {
        let is_first = gpu["uuid"].as_str().unwrap().starts_with("GPU-00000000");
        let trace = Trace::parse(if is_first { "wave:90,400,1.0,0.5" } else { "ramp:60,350,0.7" }).unwrap();
        let truth = trace.joules(marked("end")) - trace.joules(marked("begin"));
        let phase = gpu["phases"][0]["energy_j"].as_f64().unwrap();
        assert!((phase / truth - 1.0).abs() < 0.05, "{phase}, not {truth}");
    }
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(manifest["host"]["boot_id"], boot.trim(), "what tells the machine, whatever a container calls it");
    // Copies are what the originals are, and the originals are what they were.
    assert_eq!((bytes(&workplace.path("a")), bytes(&workplace.path("b"))), before);
    let parts: Value = serde_json::from_slice(&std::fs::read(workplace.path("m/merged.json")).unwrap()).unwrap();
    let ids = [manifest["id"].as_str().unwrap(), two["id"].as_str().unwrap()];
    for part in parts["parts"].as_array().unwrap() {
        let copied = bytes(&workplace.path("m").join(part["folder"].as_str().unwrap()));
        let original = if part["id"] == ids[0] { &before.0 } else { &before.1 };
        let kept: Vec<_> = original.iter().filter(|(name, _)| name != "ranks.lock").cloned().collect();
        assert_eq!(copied, kept);
    }
    let checked = workplace.printed(&["session", "check", "m"]);
    assert_eq!(checked.matches(": complete;").count(), 2, "{checked}");
}

#[test]
fn figures_of_nodes_add_up_and_the_first_failure_is_the_exit_code() {
    let workplace = Workplace::new();
    let mut one =
        node("one", "a", "GPU-1").marks(&[(1.0, "begin train"), (3.0, "step tokens=100"), (5.0, "step tokens=100"), (9.0, "end train")]);
    let mut two = Node { run: (2.0, 8.0), exit: Some(9), monotonic: 77.0, ..node("two", "b", "GPU-2") };
    let three = Node { run: (1.0, 12.0), exit: Some(143), ..node("three", "c", "GPU-3") };
    (one.processors, two.processors) = (Some(100.0), Some(50.0));
    let said = merged(&workplace, &[("x", one), ("y", two), ("z", three)]);
    close(&said["energy_j"], 300.0 * (10.0 + 6.0 + 11.0) + 100.0 * 10.0 + 50.0 * 6.0);
    close(&said["host"]["energy_j"], 1300.0);
    close(&said["duration_s"], 12.0);
    close(&said["started_unix_s"], START - IDLE);
    assert_eq!((said["exit_code"].as_i64(), said["host_name"].as_str()), (Some(9), Some("a, c, b")));
    let missing: Vec<&str> = said["missing"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    assert!(missing.iter().all(|text| text.starts_with("c: ")) && missing[0] == "c: energy counters of the host: none", "{missing:?}");
    // Memory of the one machine without counters, by its model: 64 GB of 0.3725 W for 11 s. It is never added.
    close(&said["host"]["modelled_memory_j"], 0.3725 * 64.0 * 11.0);
    close(&said["host"]["cpu_s"], 6.0);
    // Of the phase from 1 to 9 s, the second node ran 2 to 8, idled a second at either end and was measured no longer.
    let phase = |gpu: usize| &said["gpus"][gpu]["phases"][0];
    let named = |gpu: usize| said["gpus"][gpu]["host_name"].as_str().unwrap();
    assert_eq!([named(0), named(1), named(2)], ["a", "c", "b"]);
    close(&phase(0)["energy_j"], 2400.0);
    close(&phase(1)["energy_j"], 2400.0);
    close(&phase(2)["energy_j"], 1800.0 + 2.0 * 50.0);
    close(&said["steps"][0]["energy_j"], (1200.0 + 1200.0 + 50.0 + 900.0) / 2.0);
    close(&said["steps"][0]["tokens_per_s"], 50.0);
    assert!(codes(&said).is_empty(), "{}", said["faults"]);
    assert_eq!(said["parts"].as_array().unwrap().len(), 3);
}

#[test]
fn marks_are_of_the_node_that_marked_by_its_own_clocks() {
    let workplace = Workplace::new();
    let idle_rank = Node { run: (-5.0, 20.0), monotonic: 9.0, ..node("one", "a", "GPU-1") };
    let stamps = [
        (3.0, "begin train monotonic=500002.5".to_string()),
        (6.0, format!("step unix={}", START + 5.5)),
        (7.0, "end train monotonic=500006.5".into()),
    ];
    let rank_zero = Node { run: (0.0, 10.0), monotonic: 500_000.0, marks: stamps.to_vec(), ..node("two", "b", "GPU-2") };
    let said = merged(&workplace, &[("x", idle_rank), ("y", rank_zero)]);
    close(&said["gpus"][0]["phases"][0]["duration_s"], 4.0);
    close(&said["steps"][0]["mean_s"], 3.0);
    assert!(codes(&said).is_empty(), "{}", said["faults"]);
    // Marks of a second node would be the same steps again.
    let workplace = Workplace::new();
    let marks = [(1.0, "begin train"), (2.0, "step"), (4.0, "end train")];
    let said = merged(&workplace, &[("x", node("one", "a", "GPU-1").marks(&marks)), ("y", node("two", "b", "GPU-2").marks(&marks[..1]))]);
    assert_eq!((codes(&said), said["gpus"][0]["phases"][0]["count"].as_i64()), (vec!["marks_left_out"], Some(1)));
}

#[test]
fn a_phase_beyond_the_readings_of_a_node_is_named() {
    let workplace = Workplace::new();
    let marks = [(0.0, "begin train"), (0.0, "fact runs {\"gpus\": 2}"), (9.0, "step count=9"), (10.0, "end train")];
    let one = node("one", "a", "GPU-1").marks(&marks);
    let said = merged(&workplace, &[("x", one), ("y", Node { run: (0.0, 5.0), ..node("two", "b", "GPU-2") })]);
    assert_eq!(codes(&said), ["phase_incomplete"]);
    assert_eq!((said["faults"][0]["host_name"].as_str(), said["faults"][0]["uuid"].as_str()), (Some("b"), Some("GPU-2")));
    // A table has its time, and no power that was not measured.
    let rows = workplace.printed(&["session", "export", "m", "--format", "runs"]);
    let rows: Vec<&str> = rows.lines().collect();
    assert_eq!(rows[0], "gpus,source,measured_s,measured_w,idle_w,steps,energy_j_per_step");
    let cells: Vec<&str> = rows[1].split(',').collect();
    assert_eq!((cells[2], cells[3], cells[5], cells[6]), ("1", "", "9", ""));
}

#[test]
fn what_two_sessions_measured_at_the_same_time_counts_once() {
    // Overlapping, one inside the other, one beside it: seconds of 300 W that there truly were.
    for (second, seconds, found) in [((6.0, 14.0), 14.0, true), ((2.0, 5.0), 10.0, true), ((0.0, 10.0), 10.0, true)] {
        let workplace = Workplace::new();
        let mut one = node("one", "a", "GPU-1");
        let mut two = Node { run: second, ..node("two", "a", "GPU-1") };
        (one.processors, two.processors) = (Some(100.0), Some(100.0));
        let said = merged(&workplace, &[("x", one), ("y", two)]);
        close(&said["gpus"][0]["energy_j"], 300.0 * seconds);
        close(&said["host"]["energy_j"], 100.0 * seconds);
        close(&said["energy_j"], 400.0 * seconds);
        assert_eq!(said["gpus"].as_array().unwrap().len(), 1);
        let twice: Vec<&str> = codes(&said);
        assert_eq!(twice.contains(&"gpu_measured_twice") && twice.contains(&"host_measured_twice"), found, "{twice:?}");
    }
    // Containers of one machine have names of their own; a counter of the same name on another machine is another.
    for (boot, joules) in [([Some("one"), Some("one")], 1000.0), ([Some("one"), Some("other")], 2000.0), ([None, None], 2000.0)] {
        let workplace = Workplace::new();
        let mut nodes = [node("one", "a", "GPU-1"), node("two", "b", "GPU-2")];
        nodes.iter_mut().zip(boot).for_each(|(node, boot)| (node.processors, node.boot) = (Some(100.0), boot));
        let said = merged(&workplace, &[("x", nodes[0].clone()), ("y", nodes[1].clone())]);
        close(&said["host"]["energy_j"], joules);
        nodes.iter_mut().for_each(|node| node.processors = None);
        let workplace = Workplace::new();
        let said = merged(&workplace, &[("x", nodes[0].clone()), ("y", nodes[1].clone())]);
        close(&said["host"]["modelled_memory_j"], 0.3725 * 64.0 * 10.0 * joules / 1000.0);
    }
}

#[test]
fn a_session_that_is_given_twice_counts_once_and_that_is_said() {
    let workplace = Workplace::new();
    node("one", "a", "GPU-1").write(&workplace.path("x"));
    Node { sealed: false, ..node("one", "a", "GPU-1") }.write(&workplace.path("copy"));
    node("two", "b", "GPU-2").write(&workplace.path("y"));
    // The whole copy is kept, whichever comes first.
    let output = workplace.run(&["session", "merge", "copy", "x", "y", "x", "--out", "m", "--format", "json"]);
    assert!(talk(&output).contains("copy: a copy of x: a session counts once"), "{}", talk(&output));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    close(&said["energy_j"], 6000.0);
    assert_eq!(said["state"], "complete");
    let file: Value = serde_json::from_slice(&std::fs::read(workplace.path("m/merged.json")).unwrap()).unwrap();
    assert_eq!(file["left_out"].as_array().unwrap().len(), 2);
    // A part beside the whole; the whole merged anew with a part of it.
    let output = workplace.run(&["session", "show", "y", "m", "x", "x", "--format", "json"]);
    assert_eq!(talk(&output).matches("it counts once").count(), 3, "{}", talk(&output));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), said);
    assert_eq!(workplace.json(&["session", "merge", "m", "x", "--out", "n", "--format", "json"]), said);
}

#[test]
fn sessions_that_do_not_overlap_are_no_run() {
    let workplace = Workplace::new();
    node("one", "a", "GPU-1").write(&workplace.path("x"));
    Node { run: (11.5, 20.0), ..node("two", "a", "GPU-1") }.write(&workplace.path("y"));
    let output = workplace.run(&["session", "merge", "x", "y", "--out", "m"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(talk(&output).contains("do not overlap in time: by their wall clocks one on a ended 1.500 s before two on a began"));
    assert!(!workplace.path("m").exists() && std::fs::read_dir(workplace.path("")).unwrap().count() == 2);
    // A third that lies across both joins them; the accelerator of both counts while each ran.
    Node { run: (5.0, 12.0), ..node("three", "b", "GPU-2") }.write(&workplace.path("z"));
    let said = workplace.json(&["session", "merge", "x", "y", "z", "--out", "m", "--format", "json"]);
    close(&said["energy_j"], 300.0 * (10.0 + 8.5 + 7.0));
    assert_eq!((said["gpus"].as_array().unwrap().len(), codes(&said)), (2, vec![]));
}

#[test]
fn the_folder_of_a_run_on_several_nodes_is_one_run_and_other_folders_are_lists() {
    let workplace = Workplace::new();
    for (host, id, gpu) in [("a", "one", "GPU-1"), ("b", "two", "GPU-2")] {
        node(id, host, gpu).write(&workplace.path("run").join(host));
        node(id, host, gpu).write(&workplace.path("jobs").join(format!("job-{host}")));
    }
    let run = show(&workplace, "run");
    close(&run["energy_j"], 6000.0);
    assert_eq!(run, workplace.json(&["session", "merge", "run", "--out", "m", "--format", "json"]));
    for list in [show(&workplace, "jobs"), workplace.json(&["session", "show", "run/a", "run/b", "--format", "json"])] {
        let energies: Vec<f64> = list["sessions"].as_array().unwrap().iter().map(|one| one["energy_j"].as_f64().unwrap()).collect();
        assert_eq!(energies, [3000.0, 3000.0]);
    }
    let text = workplace.printed(&["session", "show", "m"]);
    assert!(text.contains("on a, b, 10 s, exit code 0; 2 sessions complete"), "{text}");
    assert!(text.contains("energy while it ran: 1.667 Wh"), "{text}");
}

#[test]
fn a_part_that_was_cut_short_makes_the_whole_so() {
    let workplace = Workplace::new();
    let cut = Node { sealed: false, exit: None, ..node("two", "b", "GPU-2") };
    let said = merged(&workplace, &[("x", node("one", "a", "GPU-1")), ("y", cut)]);
    assert_eq!((said["state"].as_str(), &said["exit_code"]), (Some("recovered"), &Value::Null));
    assert_eq!((codes(&said), said["faults"][0]["host_name"].as_str()), (vec!["recovered"], Some("b")));
    workplace.printed(&["session", "check", "m"]);
    // Without devices there is nothing but time.
    let workplace = Workplace::new();
    let empty = |id, host| Node { gpus: Vec::new(), ..node(id, host, "") };
    let said = merged(&workplace, &[("x", empty("one", "a")), ("y", empty("two", "b"))]);
    assert!(said["energy_j"].is_null(), "{}", said["energy_j"]);
    let missing = said["missing"].to_string();
    assert!(missing.contains("a: GPUs: no driver") && missing.contains("b: GPUs: no driver"), "{missing}");
    close(&said["duration_s"], 10.0);
}

#[test]
fn a_merged_session_that_was_altered_is_found() {
    let workplace = Workplace::new();
    merged(&workplace, &[("x", node("one", "a", "GPU-1")), ("y", node("two", "b", "GPU-2"))]);
    let samples = std::fs::read_to_string(workplace.path("m/b/samples.csv")).unwrap();
    workplace.write("m/b/samples.csv", samples.replacen(",300.000,", ",200.000,", 1));
    let output = workplace.run(&["session", "check", "m"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("m/a: complete;") && said.contains("m/b/samples.csv: it was changed after"), "{said}");
    workplace.write("m/b/samples.csv", samples);
    std::fs::remove_file(workplace.path("m/a/seal.json")).unwrap();
    let output = workplace.run(&["session", "check", "m"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("the seal is gone"));
    assert!(codes(&show(&workplace, "m")).contains(&"file_defect"));
    // A part that is gone, or another: a sum without it would be another figure.
    std::fs::rename(workplace.path("m/b"), workplace.path("elsewhere")).unwrap();
    for (given, found) in [(None, "no session in m/b"), (Some("three"), "session three in m/b")] {
        if let Some(id) = given {
            node(id, "b", "GPU-2").write(&workplace.path("m/b"));
        }
        for action in ["show", "check"] {
            let output = workplace.run(&["session", action, "m"]);
            assert_eq!(output.status.code(), Some(2));
            assert!(talk(&output).contains(found) && talk(&output).contains("session two"), "{}", talk(&output));
        }
    }
}

#[test]
fn wrong_input_writes_nothing() {
    let workplace = Workplace::new();
    node("one", "a", "GPU-1").write(&workplace.path("x"));
    workplace.write("full/file", "text").write("file", "text").write("broken/merged.json", "{\"schema\": 7}");
    for (arguments, said) in [
        (&["x", "--out", "full"] as &[&str], "--out: full: found something there"),
        (&["x", "--out", "file"], "--out: file: found something there"),
        (&["x", "--out", "x"], "--out: x: found something there"),
        (&["nowhere", "--out", "m"], "nowhere: found no such folder"),
        (&["full", "--out", "m"], "full: found a folder without manifest.json"),
        (&["broken", "--out", "m"], "broken/merged.json:1: schema: found 7"),
        (&["x"], "--out"),
        (&["--out", "m"], "<DIR>"),
    ] {
        let output = workplace.run(&[&["session", "merge"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", talk(&output));
        assert!(talk(&output).contains(said), "{arguments:?}: {}", talk(&output));
        assert!(output.stdout.is_empty() && !workplace.path("m").exists());
    }
    // What cannot be written is not there.
    let output = workplace.run(&["session", "merge", "x", "--out", "file/m"]);
    assert_eq!(output.status.code(), Some(1), "{}", talk(&output));
    let left: Vec<String> = names(&workplace.path(""));
    assert_eq!(left, ["broken", "file", "full", "x"]);
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
