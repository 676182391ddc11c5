//! Runs a filter as the kernel does, for tests.

use super::compiler::{ARCHITECTURE, Action, Instruction, code};

/// One call as a filter sees it: `struct seccomp_data`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) number: u32,
    pub(crate) architecture: u32,
    pub(crate) arguments: [u64; 6],
}

impl Call {
    /// A call of this machine.
    pub(crate) fn new(number: u32, arguments: [u64; 6]) -> Self {
        Self {
            number,
            architecture: ARCHITECTURE,
            arguments,
        }
    }

    fn word(&self, offset: u32) -> u32 {
        let half = |argument: u64, high: bool| (argument >> if high { 32 } else { 0 }) as u32;
        match offset {
            0 => self.number,
            4 => self.architecture,
            16..=63 if offset.is_multiple_of(4) => {
                let index = (offset - 16) / 8;
                half(
                    self.arguments[index as usize],
                    !(offset - 16).is_multiple_of(8),
                )
            }
            _ => panic!("the kernel would refuse offset {offset}"),
        }
    }
}

/// What the filter says.
pub(crate) fn run(program: &[Instruction], call: &Call) -> Action {
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let instruction = program[at];
        let operand = instruction.operand;
        at += 1;
        let branch = |holds: bool| {
            usize::from(if holds {
                instruction.if_true
            } else {
                instruction.if_false
            })
        };
        match instruction.code {
            code::LOAD => accumulator = call.word(operand),
            code::AND => accumulator &= operand,
            code::JUMP => at += operand as usize,
            code::EQUAL => at += branch(accumulator == operand),
            code::GREATER => at += branch(accumulator > operand),
            code::GREATER_OR_EQUAL => at += branch(accumulator >= operand),
            code::RETURN => return Action(operand),
            other => panic!("the kernel would refuse code {other:#x}"),
        }
    }
}
