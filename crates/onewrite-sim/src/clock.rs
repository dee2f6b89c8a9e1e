//! Clocks of processes: each runs at a speed of its own, and none of them is the database's.
//!
//! All processes of a run share one pretended clock, the true time. A process whose clock runs at half the speed is one for which
//! everything that it times takes twice as long: so its relay is given times that are as much longer, and whatever time it tells the
//! database, or the database tells it, is what that is on its own clock.

use std::time::Duration;

/// A clock, by its speed in thousandths of the true one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock(u32);

impl Clock {
    /// One that is right.
    pub const TRUE: Self = Self(1_000);

    /// One that runs at half the speed.
    #[cfg(test)]
    pub const HALF: Self = Self(500);

    /// One of three is right, the others run at half to twice the speed.
    pub fn of(random: &mut fastrand::Rng) -> Self {
        match random.u32(0..3) {
            0 => Self::TRUE,
            _ => Self(random.u32(500..=2_000)),
        }
    }

    /// How much true time passes while this clock moves on by so much.
    pub fn lasts(self, shown: Duration) -> Duration {
        shown * 1_000 / self.0
    }

    /// How far this clock moves on in so much true time.
    pub fn shows(self, passed: Duration) -> Duration {
        passed * self.0 / 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_slow_clock_shows_lasts_longer() {
        let slow = Clock::HALF;
        let second = Duration::from_secs(1);
        assert_eq!((slow.lasts(second), slow.shows(second)), (second * 2, second / 2));
        assert_eq!((Clock::TRUE.lasts(second), Clock::TRUE.shows(second)), (second, second));
    }

    #[test]
    fn clocks_of_all_speeds_are_dealt() {
        let mut random = fastrand::Rng::with_seed(1);
        let dealt: Vec<Clock> = (0..300).map(|_| Clock::of(&mut random)).collect();
        assert!(dealt.iter().all(|clock| (500..=2_000).contains(&clock.0)));
        for part in [500..700, 1_000..1_001, 1_700..2_001] {
            assert!(dealt.iter().any(|clock| part.contains(&clock.0)), "none of {part:?}");
        }
    }
}
