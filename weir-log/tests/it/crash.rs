//! Power cuts at every operation: what is found is a prefix with everything that was promised, transactions whole.

use weir_log::faulty::{FaultyDisk, Keep};
use weir_log::{MemoryDisk, Preparation};

use crate::life::{History, Script, check_image, operations};
use crate::support::small;

const KEEPS: [Keep; 8] = [
    Keep::Nothing,
    Keep::Everything,
    Keep::Random(1),
    Keep::Random(2),
    Keep::Random(3),
    Keep::Random(4),
    Keep::Random(5),
    Keep::Random(6),
];

/// What a failing test says: which case it was.
struct Case(String);

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in the case: {}", self.0);
        }
    }
}

#[test]
fn a_power_cut_at_every_operation() {
    use Preparation::{Allocation, Zeroes};
    for (seed, preparation) in [(0, Zeroes), (1, Zeroes), (2, Allocation), (3, Allocation)] {
        let script = Script { seed, steps: 60, close: true, preparation };
        let count = operations(&MemoryDisk::new(), &History::default(), script);
        assert!(count > 100, "the script is long enough to mean something: {count}");
        for cut in 0..count {
            let disk = FaultyDisk::new();
            disk.cut_at(cut);
            let mut history = History::default();
            history.live(&disk, 0, script);
            for keep in KEEPS {
                let case = Case(format!("seed {seed}, cut {cut}, {keep:?}\n{}", disk.trace().join("\n")));
                let image = disk.after_crash(keep);
                check_image(&image, &history, history.least(keep), small());
                drop(case);
            }
        }
    }
}

#[test]
fn a_second_power_cut_at_every_operation_of_the_life_after_the_first() {
    for preparation in [Preparation::Zeroes, Preparation::Allocation] {
        cut_twice(preparation);
    }
}

fn cut_twice(preparation: Preparation) {
    let first = Script { seed: 11, steps: 50, close: false, preparation };
    let second = Script { seed: 12, steps: 8, close: true, preparation };
    let count = operations(&MemoryDisk::new(), &History::default(), first);
    for cut in (0..count).step_by(11) {
        let disk = FaultyDisk::new();
        disk.cut_at(cut);
        let mut history = History::default();
        history.live(&disk, 0, first);
        for (n, keep) in KEEPS.into_iter().enumerate().skip(cut as usize % 3).step_by(3) {
            let image = disk.after_crash(keep);
            let least = history.least(keep);
            // What is promised after the first crash is what an undisturbed open finds.
            for again in 0..operations(&image, &promised(&history, least), second) {
                let later = FaultyDisk::over(&image);
                later.cut_at(again);
                let mut history = history.clone();
                history.durable = least;
                history.written = least;
                history.live(&later, least, second);
                let keep_then = KEEPS[(n + again as usize) % KEEPS.len()];
                let case = format!("cut {cut}, {keep:?}, then {again}, {keep_then:?}");
                let case = Case(format!("{case}\n{}", later.trace().join("\n")));
                check_image(&later.after_crash(keep_then), &history, history.least(keep_then), small());
                drop(case);
            }
        }
    }
}

fn promised(history: &History, least: usize) -> History {
    History { durable: least, written: least, ..history.clone() }
}
