//! Reads meters and writes rows, on a thread of its own: a driver that hangs holds up neither the measured program nor its signals.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

use super::live::Live;
use super::meter::{Channel, News};
use super::recorder::Recorder;
use super::schedule::{BUDGET, BUDGET_WITHOUT_COUNTER, SHORTEST, Schedule};
use super::steady::Steady;
use crate::session::phase::Reader;
use crate::session::{Event, Window};

/// What the collector is told; each is answered when it is done.
pub enum Order {
    /// The measured program starts when this is answered.
    Start(SyncSender<()>),
    /// It ended: exit code, processor seconds, largest resident set.
    End {
        /// The exit code; nothing where it is not known.
        code: Option<i32>,
        /// Processor time, s.
        cpu_s: Option<f64>,
        /// The largest resident set of one process, bytes.
        peak_memory_bytes: Option<u64>,
        /// Answered when the last row of the run is taken.
        done: SyncSender<()>,
    },
    /// The program has written marks.
    Marks,
    /// No more readings: seal the session.
    Finish,
}

/// What the collector says by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Power and temperature are level.
    Steady,
}

/// Seconds between readings of what changes slowly.
const SLOW: f64 = 1.0;
/// Seconds from the start of the run to the first of them, so that a short run has one.
const EARLY: f64 = 0.2;
/// How long the end of the run waits for the energy counters to move once more, s: they move about every 0.1 s.
const LAST_MOVE: f64 = 0.15;

/// The clock of a session.
#[derive(Debug, Clone, Copy)]
pub struct Clock(pub Instant);

impl Clock {
    /// Seconds of the session.
    pub fn now(self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// Everything that collects.
pub struct Collector<'a> {
    /// The clock.
    pub clock: Clock,
    /// Seconds between rows.
    pub interval: f64,
    /// Seconds of the idle baselines; 0 where there are none. The run is expected to start after the first.
    pub baseline: f64,
    /// What is read.
    pub channels: Vec<Channel<'a>>,
    /// Where it is written.
    pub recorder: Recorder,
    /// What is said while it runs.
    pub live: Option<Live>,
    /// What watches for level power, where that ends the run.
    pub steady: Option<Steady>,
    /// The marks so far, as the live line reads them.
    pub marks: Reader,
    /// Whom to tell what it says by itself.
    pub said: std::sync::mpsc::Sender<Said>,
    /// The clocks of the machine at the start, for the marks.
    pub started: (f64, f64),
    /// Whether the program says itself when its marks happened.
    pub stamped: Arc<AtomicBool>,
}

impl Collector<'_> {
    /// Collects until it is told to finish. What could not be written, for people.
    ///
    /// # Errors
    /// Lines are missing on disk.
    pub fn run(mut self, orders: &Receiver<Order>) -> Result<(), String> {
        let seed = self.started.1.to_bits();
        let counts = |channel: &Channel<'_>| channel.meter.power.is_none() || channel.meter.counter_unit_j.is_some();
        let budget = if self.channels.iter().all(counts) { BUDGET } else { BUDGET_WITHOUT_COUNTER };
        let mut schedule = Schedule::new(seed, self.clock.now(), self.baseline, self.interval, budget);
        if self.baseline > 0.0 {
            self.event(|t_s| Event::Begin { t_s, window: Window::IdleBefore });
        }
        self.slow();
        self.poll_all();
        self.rows();
        // What a round of readings costs once caches know it, for a first guess of how many there may be.
        let before = processor_time();
        self.poll_fast();
        schedule.guess(processor_time() - before);
        let (mut next_slow, mut adapted, mut spent) = (self.clock.now() + SLOW, self.clock.now(), processor_time());
        let mut due = schedule.due(self.clock.now());
        loop {
            let wait = (due - self.clock.now()).max(0.0);
            match orders.recv_timeout(Duration::from_secs_f64(wait)) {
                Ok(Order::Start(started)) => {
                    self.boundary(Some(Window::IdleBefore).filter(|_| self.baseline > 0.0), Some(Window::Run));
                    self.channels.iter_mut().for_each(Channel::start);
                    let begin = self.clock.now();
                    schedule.start(begin);
                    due = due.min(begin + SHORTEST);
                    next_slow = begin + EARLY;
                    self.marks = Reader::new(self.started.0, self.started.1, begin);
                    started.send(()).ok();
                    if let Some(live) = &mut self.live {
                        live.start(begin);
                    }
                    self.flush();
                    continue;
                }
                Ok(Order::End { code, cpu_s, peak_memory_bytes, done }) => {
                    self.boundary(Some(Window::Run), Some(Window::IdleAfter).filter(|_| self.baseline > 0.0));
                    self.take_marks(true);
                    if let Some(code) = code {
                        self.event(|t_s| Event::Exit { t_s, code, cpu_s, peak_memory_bytes });
                    }
                    self.flush();
                    self.live = None;
                    self.last_move();
                    done.send(()).ok();
                    continue;
                }
                Ok(Order::Marks) => {
                    self.take_marks(false);
                    continue;
                }
                Ok(Order::Finish) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let late = self.clock.now() - due;
            if late > 1.0 + self.interval {
                let text = format!("no reading for {late:.1} s: the collector was stopped, or the driver did not answer");
                self.event(|t_s| Event::Fault { t_s, meter: None, code: "paused".into(), text });
            }
            self.poll_fast();
            self.take_marks(false);
            let now = self.clock.now();
            if schedule.is_row(now) {
                if now >= next_slow {
                    self.slow();
                    next_slow = now + SLOW;
                    let used = processor_time() - spent;
                    spent += used;
                    schedule.adapt(used / (now - adapted));
                    adapted = now;
                }
                self.poll_slow_counters();
                self.rows();
                self.flush();
                self.watch();
            }
            due = schedule.due(self.clock.now());
        }
        self.boundary(Some(Window::IdleAfter).filter(|_| self.baseline > 0.0), None);
        let ended = self.clock.now();
        self.recorder.seal(ended, self.started.1 + ended)
    }

    fn event(&mut self, make: impl FnOnce(f64) -> Event) {
        let event = make(self.clock.now());
        self.recorder.event(&event);
    }

    fn news(&mut self, meter: usize, news: Vec<News>) {
        for News { code, text } in news {
            self.event(|t_s| match code {
                Some(code) => Event::Fault { t_s, meter: Some(meter), code: code.into(), text },
                None => Event::Note { t_s, meter: Some(meter), text },
            });
        }
    }

    fn poll(&mut self, which: impl Fn(&Channel<'_>) -> bool) {
        for index in 0..self.channels.len() {
            if which(&self.channels[index]) {
                let mut news = Vec::new();
                self.channels[index].poll(self.clock.now(), &mut news);
                if !news.is_empty() {
                    self.news(index, news);
                }
            }
        }
    }

    fn poll_fast(&mut self) {
        self.poll(|channel| channel.is_polled());
    }

    fn poll_slow_counters(&mut self) {
        self.poll(|channel| !channel.is_polled());
    }

    fn poll_all(&mut self) {
        self.poll(|_| true);
    }

    fn slow(&mut self) {
        for index in 0..self.channels.len() {
            let mut news = Vec::new();
            let now = self.clock.now();
            self.channels[index].slow(now, &mut news);
            self.news(index, news);
        }
    }

    fn rows(&mut self) {
        for channel in &mut self.channels {
            if let Some(row) = channel.row() {
                self.recorder.sample(&row);
            }
        }
    }

    /// One stretch ends and another begins, at the moment of a reading.
    fn boundary(&mut self, ended: Option<Window>, begun: Option<Window>) {
        self.poll_all();
        self.rows();
        let t_s = self.clock.now();
        if let Some(window) = ended {
            self.recorder.event(&Event::End { t_s, window });
        }
        if let Some(window) = begun {
            self.recorder.event(&Event::Begin { t_s, window });
        }
    }

    /// Reads until every counter that moves has moved once more, so that the energy at the end of the run is known.
    fn last_move(&mut self) {
        let end = self.clock.now();
        let moved: Vec<Option<u64>> = self.channels.iter().map(Channel::count).collect();
        while self.clock.now() < end + LAST_MOVE {
            let waits = self.channels.iter().zip(&moved).any(|(channel, before)| channel.is_counting() && channel.count() == *before);
            if !waits {
                break;
            }
            std::thread::sleep(Duration::from_secs_f64(SHORTEST));
            self.poll_fast();
        }
        self.rows();
    }

    fn take_marks(&mut self, last: bool) {
        let mut lines = self.recorder.new_marks();
        if last {
            lines.extend(self.recorder.torn_mark());
        }
        for line in lines {
            let t_s = self.clock.now();
            self.stamped.store(self.marks.line(t_s, &line), Ordering::Relaxed);
            self.recorder.event(&Event::Mark { t_s, line });
        }
    }

    fn flush(&mut self) {
        if let Some(error) = self.recorder.flush() {
            super::tell(&format!("readings cannot be written: {error}; the program goes on, and readings wait for room"));
        }
    }

    fn watch(&mut self) {
        let now = self.clock.now();
        if let Some(live) = &mut self.live {
            live.show(now, &self.channels, &self.marks);
        }
        if let Some(steady) = &mut self.steady {
            let watts: Option<f64> = self.channels.iter().filter(|channel| channel.meter.power.is_some()).map(Channel::watts).sum();
            if steady.is_level(now, watts) {
                self.steady = None;
                self.said.send(Said::Steady).ok();
            }
        }
    }
}

/// Processor seconds of this thread; 0 where the system does not say, which only makes readings as frequent as they may be.
fn processor_time() -> f64 {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(0.0, |time| time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
}
