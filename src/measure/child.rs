//! The measured program: started in a process group of its own, given the terminal and the signals that we get, waited for.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigSet, Signal, killpg, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Pid, getpgrp, tcgetpgrp, tcsetpgrp};
use signal_hook::consts::{SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGWINCH, SIGXFSZ};
use signal_hook::iterator::Signals;

use super::collector::Said;

/// What the main thread waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The system sent us a signal.
    Signal(i32),
    /// The collector says something.
    Collector(Said),
}

/// Where messages go, and where they come from. From here on no signal ends this process by itself; a full disk or a limit of a
/// file's size is an error of the write.
///
/// # Errors
/// Handlers cannot be installed.
pub fn messages() -> io::Result<(Sender<Message>, Receiver<Message>)> {
    let (sender, receiver) = channel();
    let wanted = [SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGUSR1, SIGUSR2, SIGWINCH, SIGXFSZ];
    let mut signals = Signals::new(wanted)?;
    let forward = sender.clone();
    std::thread::spawn(move || signals.forever().take_while(|signal| forward.send(Message::Signal(*signal)).is_ok()).count());
    Ok((sender, receiver))
}

/// Where a command is found, as a shell would: by its path, or in the folders of PATH.
pub fn find(command: &OsString, path: Option<OsString>) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let runs = |file: &Path| file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0);
    if command.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(command)).filter(|file| runs(file));
    }
    std::env::split_paths(&path?).map(|folder| folder.join(command)).find(|file| runs(file))
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code; 128 and the number of the signal that ended it.
    Code(i32),
    /// Someone else waited for it, so its code is not known.
    Unknown,
}

impl Ended {
    /// The code, where it is known.
    pub fn code(self) -> Option<i32> {
        match self {
            Self::Code(code) => Some(code),
            Self::Unknown => None,
        }
    }
}

/// A program that runs.
pub struct Running {
    pid: Pid,
    terminal: Option<Terminal>,
    stopped: bool,
}

/// The terminal that we were in the foreground of.
struct Terminal {
    file: File,
    own: Pid,
}

impl Terminal {
    fn of_ours() -> Option<Self> {
        let file = File::open("/dev/tty").ok()?;
        let own = getpgrp();
        (tcgetpgrp(&file).ok()? == own).then_some(Self { file, own })
    }

    /// Makes a group the one that the terminal listens to. Asked from the background, which stops a process that does not block this
    /// signal.
    fn give(&self, group: Pid) {
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGTTOU);
        if blocked.thread_block().is_ok() {
            tcsetpgrp(&self.file, group).ok();
            blocked.thread_unblock().ok();
        }
    }
}

/// Starts a program.
///
/// # Errors
/// The system cannot start it.
pub fn start(command: &[OsString], environment: &[(&str, OsString)]) -> io::Result<Running> {
    let [program, arguments @ ..] = command else { return Err(io::Error::from(io::ErrorKind::InvalidInput)) };
    let terminal = Terminal::of_ours();
    // Found once, so that starting it does not search again while the run's clock goes.
    let mut builder = Command::new(find(program, std::env::var_os("PATH")).unwrap_or_else(|| program.into()));
    builder.arg0(program).args(arguments).envs(environment.iter().map(|(key, value)| (*key, value))).process_group(0);
    let pid = Pid::from_raw(builder.spawn()?.id().cast_signed());
    if let Some(terminal) = &terminal {
        terminal.give(pid);
        // It may have asked for the terminal before it had it.
        killpg(pid, Signal::SIGCONT).ok();
    }
    Ok(Running { pid, terminal, stopped: false })
}

impl Running {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// Takes a signal: forwards it, or sees what became of the program. How it ended, where it did.
    pub fn signal(&mut self, signal: i32) -> Option<Ended> {
        match signal {
            SIGCHLD => return self.look(),
            SIGCONT if self.stopped => {
                self.stopped = false;
                if let Some(terminal) = self.terminal.as_ref().filter(|terminal| tcgetpgrp(&terminal.file) == Ok(terminal.own)) {
                    terminal.give(self.pid);
                }
                killpg(self.pid, Signal::SIGCONT).ok();
            }
            SIGXFSZ => {}
            signal => {
                if let Ok(signal) = Signal::try_from(signal) {
                    killpg(self.pid, signal).ok();
                }
            }
        }
        None
    }

    /// Asks it to end.
    pub fn end(&self) {
        killpg(self.pid, Signal::SIGTERM).ok();
        killpg(self.pid, Signal::SIGCONT).ok();
    }

    fn look(&mut self) -> Option<Ended> {
        match waitpid(self.pid, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED)) {
            Ok(WaitStatus::Exited(_, code)) => Some(Ended::Code(code)),
            Ok(WaitStatus::Signaled(_, signal, _)) => Some(Ended::Code(128 + signal as i32)),
            Ok(WaitStatus::Stopped(..)) => {
                self.stopped = true;
                if let Some(terminal) = &self.terminal {
                    // The shell that started us waits until we stop too.
                    terminal.give(terminal.own);
                    raise(Signal::SIGSTOP).ok();
                }
                None
            }
            Ok(_) | Err(nix::errno::Errno::EINTR) => None,
            Err(_) => Some(Ended::Unknown),
        }
    }

    /// Gives the terminal back.
    pub fn finish(&self) {
        if let Some(terminal) = &self.terminal {
            terminal.give(terminal.own);
        }
    }
}

/// When this process began, near enough: it has been running for at least as long as it used the processor.
pub fn began() -> Instant {
    let used = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from);
    let now = Instant::now();
    now.checked_sub(used).unwrap_or(now)
}

/// Processor seconds of all that was waited for, and the largest resident set of one of them, bytes.
pub fn usage() -> (Option<f64>, Option<u64>) {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return (None, None) };
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    // Linux counts the resident set in units of 1024 bytes (getrusage(2)). A child begins with that of its parent, so that one no larger
    // than ours says nothing.
    let own = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |own| own.max_rss());
    let memory = u64::try_from(usage.max_rss()).ok().filter(|_| usage.max_rss() > own).map(|units| units * 1024);
    (Some(seconds(usage.user_time()) + seconds(usage.system_time())), memory)
}

/// The next message until a moment; nothing when that comes first.
pub fn next(messages: &Receiver<Message>, until: Option<Instant>) -> Option<Message> {
    match until {
        None => messages.recv().ok(),
        Some(until) => messages.recv_timeout(until.saturating_duration_since(Instant::now())).ok(),
    }
}

/// As `Duration::from_secs_f64`, for any number.
pub fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_as_a_shell_finds_them() {
        let path = Some(OsString::from("/nowhere:/bin:/usr/bin"));
        assert!(find(&"sh".into(), path.clone()).is_some());
        assert!(find(&"/bin/sh".into(), None).is_some());
        assert_eq!(find(&"no-such-command".into(), path.clone()), None);
        assert_eq!(find(&"/etc/passwd".into(), path), None);
    }
}
