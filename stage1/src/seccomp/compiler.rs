//! From rules per system call to a BPF program: a binary search over numbers, then comparisons of arguments.
//!
//! Pure. Also compiled into the build script, which makes the default program.

use std::collections::BTreeMap;

/// What the kernel does with a call: one of its `SECCOMP_RET_` values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Action(pub(crate) u32);

impl Action {
    /// Let it happen.
    pub(crate) const ALLOW: Self = Self(0x7fff_0000);
    /// Let it happen and write it to the audit log.
    pub(crate) const LOG: Self = Self(0x7ffc_0000);
    /// Send SIGSYS.
    pub(crate) const TRAP: Self = Self(0x0003_0000);
    /// End the thread.
    pub(crate) const KILL_THREAD: Self = Self(0);
    /// End the process.
    pub(crate) const KILL_PROCESS: Self = Self(0x8000_0000);
    /// Fail with "no such system call".
    pub(crate) const NO_SUCH_CALL: Self = Self::errno(38);

    /// Fail with an errno.
    pub(crate) const fn errno(number: u16) -> Self {
        Self(0x0005_0000 | number as u32)
    }

    /// The strictest is 0: the order in which the kernel itself prefers one action to another.
    pub(crate) fn leniency(self) -> u8 {
        match self.0 & 0xffff_0000 {
            0x8000_0000 => 0,
            0 => 1,
            0x0003_0000 => 2,
            0x0005_0000 => 3,
            0x7ffc_0000 => 5,
            0x7fff_0000 => 6,
            _ => 4,
        }
    }
}

/// How an argument is compared, as unsigned 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    Equal(u64),
    NotEqual(u64),
    Less(u64),
    LessOrEqual(u64),
    Greater(u64),
    GreaterOrEqual(u64),
    /// The bits of the mask are equal to the value.
    Masked {
        mask: u64,
        value: u64,
    },
}

/// One argument and its test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// Which argument, 0 to 5.
    pub(crate) argument: u32,
    /// What must hold.
    pub(crate) test: Test,
}

/// An action when all comparisons hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) comparisons: Vec<Comparison>,
    pub(crate) action: Action,
}

/// What happens to every call.
#[derive(Debug)]
pub(crate) struct Policy {
    /// Calls without a rule that matches.
    pub(crate) default: Action,
    /// Calls with a number above everything that the profile's author can have known; they get `NO_SUCH_CALL` when the
    /// default is an errno, so that a C library falls back to what it did before.
    pub(crate) highest: u32,
    /// By number; the first rule that matches counts, see [`order`].
    pub(crate) rules: BTreeMap<u32, Vec<Rule>>,
}

/// `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) if_true: u8,
    pub(crate) if_false: u8,
    pub(crate) operand: u32,
}

/// Instruction codes of classic BPF (`linux/bpf_common.h`).
pub(crate) mod code {
    /// Load 32 bits of `struct seccomp_data` at an offset.
    pub(crate) const LOAD: u16 = 0x20;
    /// Jump forward.
    pub(crate) const JUMP: u16 = 0x05;
    /// Equal?
    pub(crate) const EQUAL: u16 = 0x15;
    /// Greater?
    pub(crate) const GREATER: u16 = 0x25;
    /// Greater or equal?
    pub(crate) const GREATER_OR_EQUAL: u16 = 0x35;
    /// Bitwise and.
    pub(crate) const AND: u16 = 0x54;
    /// Done.
    pub(crate) const RETURN: u16 = 0x06;
}

/// The most instructions that the kernel takes.
pub(crate) const MAX_INSTRUCTIONS: usize = 4096;
/// `AUDIT_ARCH_…` of this machine.
pub(crate) const ARCHITECTURE: u32 = if cfg!(target_arch = "x86_64") {
    0xc000_003e
} else {
    0xc000_00b7
};
/// Numbers from here on are those of x32.
const X32: u32 = 0x4000_0000;
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCHITECTURE: u32 = 4;
const OFFSET_ARGUMENTS: u32 = 16;

/// Puts the rules of one call in the order in which they are tried: those with comparisons first, the strictest first;
/// then those without. So no rule that allows can hide one that denies.
pub(crate) fn order(rules: &mut [Rule]) {
    rules.sort_by_key(|rule| (rule.comparisons.is_empty(), rule.action.leniency()));
}

/// Compiles; `None` when the program would be too long for the kernel.
pub(crate) fn compile(policy: &Policy) -> Option<Vec<Instruction>> {
    let mut program = vec![
        load(OFFSET_ARCHITECTURE),
        jump(code::EQUAL, ARCHITECTURE, 1, 0),
        give(Action::KILL_PROCESS),
        load(OFFSET_NUMBER),
        jump(code::GREATER_OR_EQUAL, X32, 0, 1),
        give(Action::NO_SUCH_CALL),
    ];
    program.extend(search(&ranges(policy)));
    (program.len() <= MAX_INSTRUCTIONS).then_some(program)
}

/// Neighbouring numbers with the same code, as the first number of each range.
fn ranges(policy: &Policy) -> Vec<(u32, Vec<Instruction>)> {
    let mut ranges: Vec<(u32, Vec<Instruction>)> = Vec::new();
    let mut add = |from: u32, body: Vec<Instruction>| {
        if ranges.last().is_none_or(|(_, last)| *last != body) {
            ranges.push((from, body));
        }
    };
    let last = policy.rules.keys().next_back().map_or(0, |&number| number);
    for number in 0..=last.max(policy.highest) {
        let rules = policy.rules.get(&number).map_or(&[][..], Vec::as_slice);
        add(number, leaf(rules, policy.default));
    }
    let newer = if policy.default.leniency() == Action::NO_SUCH_CALL.leniency() {
        Action::NO_SUCH_CALL
    } else {
        policy.default
    };
    add(last.max(policy.highest) + 1, vec![give(newer)]);
    ranges
}

/// The code that finds the range of a number.
fn search(ranges: &[(u32, Vec<Instruction>)]) -> Vec<Instruction> {
    let (low, high) = match ranges {
        [] => return vec![give(Action::KILL_PROCESS)],
        [(_, only)] => return only.clone(),
        several => several.split_at(several.len() / 2),
    };
    let below = search(low);
    let pivot = high.first().map_or(0, |&(from, _)| from);
    let mut program = match u8::try_from(below.len()) {
        Ok(distance) => vec![jump(code::GREATER_OR_EQUAL, pivot, distance, 0)],
        Err(_) => vec![jump(code::GREATER_OR_EQUAL, pivot, 0, 1), far(below.len())],
    };
    program.extend(below);
    program.extend(search(high));
    program
}

/// The code of one call: its rules in order, then the default.
fn leaf(rules: &[Rule], default: Action) -> Vec<Instruction> {
    let mut program = Vec::new();
    for rule in rules {
        let mut body = Vec::new();
        for comparison in rule.comparisons.iter().rev() {
            // Built from the end, so that the distance to the next rule is known: past the body and its return.
            let mut first = compare(comparison, body.len() + 1);
            first.append(&mut body);
            body = first;
        }
        program.append(&mut body);
        program.push(give(rule.action));
        if rule.comparisons.is_empty() {
            return program;
        }
    }
    program.push(give(default));
    program
}

/// One comparison: falls through when it holds; when not, jumps over itself and `rest` further instructions.
fn compare(comparison: &Comparison, rest: usize) -> Vec<Instruction> {
    let low_at = OFFSET_ARGUMENTS + comparison.argument * 8;
    let (low, high) = (low_at, low_at + 4);
    let rest = u8::try_from(rest).unwrap_or(u8::MAX);
    // Distances: past the five instructions when the comparison holds, past the rest of the rule when it does not.
    let ordered = |bound: u64, when_greater: bool, test: u16| {
        let (bound_high, bound_low) = halves(bound);
        let (greater, less) = if when_greater { (0, rest) } else { (rest, 0) };
        vec![
            load(high),
            jump(code::GREATER, bound_high, 3 + greater, 0),
            jump(code::EQUAL, bound_high, 0, 2 + less),
            load(low),
            jump(test, bound_low, greater, less),
        ]
    };
    match comparison.test {
        Test::Equal(value) => masked(low, high, u64::MAX, value, rest),
        Test::Masked { mask, value } => masked(low, high, mask, value, rest),
        Test::NotEqual(value) => vec![
            load(high),
            jump(code::EQUAL, halves(value).0, 0, 2),
            load(low),
            jump(code::EQUAL, halves(value).1, rest, 0),
        ],
        Test::Greater(bound) => ordered(bound, true, code::GREATER),
        Test::GreaterOrEqual(bound) => ordered(bound, true, code::GREATER_OR_EQUAL),
        Test::LessOrEqual(bound) => ordered(bound, false, code::GREATER),
        Test::Less(bound) => ordered(bound, false, code::GREATER_OR_EQUAL),
    }
}

fn masked(low: u32, high: u32, mask: u64, value: u64, rest: u8) -> Vec<Instruction> {
    let ((mask_high, mask_low), (value_high, value_low)) = (halves(mask), halves(value));
    let mut second = vec![load(low)];
    second.extend(and(mask_low));
    second.push(jump(code::EQUAL, value_low, 0, rest));
    let mut first = vec![load(high)];
    first.extend(and(mask_high));
    // At most three instructions: within a jump's reach for every rule of six arguments.
    let over = u8::try_from(second.len()).unwrap_or(u8::MAX);
    first.push(jump(code::EQUAL, value_high, 0, over + rest));
    first.extend(second);
    first
}

fn and(mask: u32) -> Option<Instruction> {
    (mask != u32::MAX).then_some(Instruction {
        code: code::AND,
        if_true: 0,
        if_false: 0,
        operand: mask,
    })
}

fn halves(value: u64) -> (u32, u32) {
    ((value >> 32) as u32, (value & 0xffff_ffff) as u32)
}

fn load(offset: u32) -> Instruction {
    jump(code::LOAD, offset, 0, 0)
}

fn give(action: Action) -> Instruction {
    jump(code::RETURN, action.0, 0, 0)
}

fn far(distance: usize) -> Instruction {
    // A program has at most 4096 instructions, or it is refused.
    jump(
        code::JUMP,
        u32::try_from(distance).unwrap_or(u32::MAX),
        0,
        0,
    )
}

fn jump(code: u16, operand: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction {
        code,
        if_true,
        if_false,
        operand,
    }
}

/// The bytes that the kernel takes: `struct sock_filter`s in native byte order.
pub(crate) fn bytes(program: &[Instruction]) -> Vec<u8> {
    program
        .iter()
        .flat_map(|instruction| {
            let [code0, code1] = instruction.code.to_ne_bytes();
            let [k0, k1, k2, k3] = instruction.operand.to_ne_bytes();
            [
                code0,
                code1,
                instruction.if_true,
                instruction.if_false,
                k0,
                k1,
                k2,
                k3,
            ]
        })
        .collect()
}
