//! `python/lowcarb_marks.py` in a real Python: the lines that it writes, and when it writes none.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python");

/// Whether there is a python3; the program needs none, so that its tests do not fail for want of one.
fn python_is_there() -> bool {
    let found = Command::new("python3").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let there = found.is_ok_and(|status| status.success());
    if !there {
        eprintln!("skipped: no python3 here, so lowcarb_marks.py was not tried");
    }
    there
}

/// Runs a script that has imported the marks, with variables of its own and no rank but those.
fn python(script: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new("python3");
    command.args(["-B", "-c", &format!("import lowcarb_marks as marks, os, sys, time\n{script}")]).env("PYTHONPATH", FOLDER);
    for name in ["LOWCARB_MARKS", "RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied()).output().unwrap()
}

/// The lines that a script marks, and what it says on the standard error.
fn marked(script: &str, variables: &[(&str, &str)]) -> (Vec<String>, String) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("marks");
    let output = python(script, &[&[("LOWCARB_MARKS", path.to_str().unwrap())], variables].concat());
    let talk = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{talk}");
    let text = if path.exists() { std::fs::read_to_string(&path).unwrap() } else { String::new() };
    assert!(text.is_empty() || text.ends_with('\n'));
    (text.lines().map(str::to_string).collect(), talk)
}

/// A line without its time, and the time.
fn timed(line: &str) -> (&str, f64) {
    let (words, time) = line.rsplit_once(" monotonic=").unwrap_or_else(|| panic!("no time in {line}"));
    (words, time.parse().unwrap())
}

#[test]
fn phases_nest_and_every_line_has_its_form() {
    if !python_is_there() {
        return;
    }
    let script = "
marks.plan(900)
with marks.phase('train'):
    marks.fact('runs', id='a', layers=12, dropout=0.1, loss=float('nan'), measured=None)
    time.sleep(0.03); marks.step(samples=8, tokens=4096)
    try:
        with marks.phase('an evaluation'): raise RuntimeError
    except RuntimeError: pass
    time.sleep(0.03); marks.step()
";
    let (lines, talk) = marked(script, &[]);
    assert_eq!(talk, "");
    assert_eq!(lines[0], "plan steps=900");
    let facts: serde_json::Value = serde_json::from_str(lines[2].strip_prefix("fact runs ").unwrap()).unwrap();
    assert_eq!(facts, serde_json::json!({"id": "a", "layers": 12, "dropout": 0.1, "loss": null, "measured": null}));
    let (words, times): (Vec<&str>, Vec<f64>) = [1, 3, 4, 5, 6, 7].map(|index: usize| timed(&lines[index])).into_iter().unzip();
    let expected = ["begin train", "step samples=8 tokens=4096", "begin an_evaluation", "end an_evaluation", "step", "end train"];
    assert_eq!(words, expected);
    assert!(times.is_sorted() && times[5] - times[0] >= 0.06, "{times:?}");
    assert_eq!(lines.len(), 8);
}

#[test]
fn short_steps_share_a_mark_and_none_is_lost() {
    if !python_is_there() {
        return;
    }
    let script = "
with marks.phase('train'):
    for number in range(200):
        time.sleep(0.001)
        marks.step(samples=1 + number % 2, tokens=10, count=2)
marks.step(samples=5)
";
    let (lines, _) = marked(script, &[]);
    let steps: Vec<&str> = lines.iter().map(|line| timed(line).0).filter(|line| line.starts_with("step")).collect();
    assert!((5..60).contains(&steps.len()), "{steps:?}");
    let figure = |line: &str, key: &str| -> Option<f64> {
        line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('=')).map(|text| text.parse().unwrap())
    };
    let total = |key| steps.iter().map(|line| figure(line, "count").unwrap_or(1.0) * figure(line, key).unwrap_or(0.0)).sum::<f64>();
    assert!((total("samples") - 605.0).abs() < 1e-6, "{}", total("samples"));
    assert_eq!(total("tokens"), 4000.0);
    assert_eq!(steps.last(), Some(&"step samples=5"), "the end of the process marks what is left");
}

#[test]
fn the_device_is_waited_for_before_the_clock_is_read() {
    if !python_is_there() {
        return;
    }
    let script = "
def wait(): time.sleep(0.05)
with marks.phase('train', synchronise=wait): began = time.monotonic()
class cuda:
    is_available = is_initialized = staticmethod(lambda: True)
    synchronize = staticmethod(lambda: print('waited', file=sys.stderr))
sys.modules['torch'] = type(sys)('torch'); sys.modules['torch'].cuda = cuda
marks.begin('a'); marks.end('a', synchronise=False)
";
    let (lines, talk) = marked(script, &[]);
    let times: Vec<f64> = lines.iter().map(|line| timed(line).1).collect();
    assert!(times[1] - times[0] >= 0.05, "{times:?}");
    assert_eq!(talk, "waited\n");
}

#[test]
fn nothing_is_written_without_the_variable_or_on_another_rank() {
    if !python_is_there() {
        return;
    }
    let script = "
print(marks.active())
marks.plan(3)
with marks.phase('train'): marks.step(samples=1)
marks.fact('runs', id='a')
";
    let output = python(script, &[]);
    assert_eq!((String::from_utf8_lossy(&output.stdout).trim(), output.stderr.len()), ("False", 0));
    for variable in ["RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"] {
        assert_eq!(marked(script, &[(variable, "1")]).0.len(), 0, "{variable}");
        assert_eq!(marked(script, &[(variable, "0")]).0.len(), 5, "{variable}");
    }
    // A launcher that a batch system started: its own rank counts.
    assert_eq!(marked(script, &[("RANK", "3"), ("SLURM_PROCID", "0")]).0.len(), 0);
    assert_eq!(marked(script, &[("RANK", "0"), ("SLURM_PROCID", "1")]).0.len(), 5);
}

#[test]
fn lines_of_several_processes_do_not_mix() {
    if !python_is_there() {
        return;
    }
    let script = "
import multiprocessing
def work(number):
    for one in range(200): marks.fact('runs', id=str(number) * 300)
if __name__ == '__main__':
    processes = [multiprocessing.get_context('fork').Process(target=work, args=(number,)) for number in range(4)]
    [process.start() for process in processes]; [process.join() for process in processes]
";
    let (lines, _) = marked(script, &[]);
    assert_eq!(lines.len(), 800);
    for line in lines {
        let facts: serde_json::Value = serde_json::from_str(line.strip_prefix("fact runs ").unwrap()).unwrap();
        let id = facts["id"].as_str().unwrap();
        assert!(id.len() == 300 && id.chars().all(|c| id.starts_with(c)), "{id}");
    }
}

#[test]
fn a_disk_that_is_full_ends_the_marks_and_not_the_training() {
    if !python_is_there() {
        return;
    }
    let script = "
with marks.phase('train'):
    for number in range(5): marks.step()
print('trained')
";
    for path in ["/dev/full", "/a/folder/that/is/not/there"] {
        if path == "/dev/full" && !Path::new(path).exists() {
            continue;
        }
        let output = python(script, &[("LOWCARB_MARKS", path)]);
        let talk = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && output.stdout == b"trained\n", "{talk}");
        assert!(talk.starts_with("lowcarb_marks: no more marks") && talk.contains(path) && talk.lines().count() == 1, "{talk}");
    }
}
