"""How numbers and words lie in 16-bit Modbus registers, and in how few requests they are read.

Modbus itself fixes only that one register is sent high byte first (Modbus application protocol V1.1b3, 4.2). In which
order the registers of a longer number come is up to each maker; some swap the bytes in a register as well.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

FORMATS = {
    "float32": "f", "float64": "d", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q",
    "uint64": "Q",
}  # fmt: skip
MAX_REGISTERS = 125  # a read response has room for no more (Modbus application protocol V1.1b3, 6.3)
FLOAT_BITS = {"float32": 24, "float64": 53}


@dataclass(frozen=True, slots=True)
class Coding:
    """How one number lies in registers. The orders are "big" or "little"."""

    type: str
    word_order: str = "big"
    byte_order: str = "big"

    @property
    def registers(self) -> int:
        """How many registers it takes."""
        return struct.calcsize(FORMATS[self.type]) // 2

    def number(self, words: Sequence[int]) -> int | float:
        """The number in `words`, one 16-bit value for each register, in order of address."""
        ordered = words if self.word_order == "big" else words[::-1]
        data = struct.pack(("<" if self.byte_order == "little" else ">") + f"{len(words)}H", *ordered)
        (number,) = struct.unpack(">" + FORMATS[self.type], data)
        return number  # type: ignore[no-any-return]

    def swapped(self) -> "Coding":
        """The same with its registers in the other order."""
        return replace(self, word_order="little" if self.word_order == "big" else "big")

    def step(self, number: int | float) -> float:
        """The distance to the next number the type can hold at this size: 1 for integers. A float32 counter that
        stands at 20,000,000 can only move by 2."""
        bits = FLOAT_BITS.get(self.type)
        if bits is None or not math.isfinite(number):
            return 1.0 if bits is None else 0.0
        return math.ldexp(1.0, max(math.frexp(number)[1] - bits, -149)) if number else 0.0


@dataclass(frozen=True, slots=True)
class Register:
    """Where a number or a word stands: `count` registers from wire address `address`, read by `function` (3 or 4)."""

    function: int
    address: int
    count: int

    @property
    def end(self) -> int:
        return self.address + self.count

    def __str__(self) -> str:
        return f"register {self.address}" if self.count == 1 else f"registers {self.address}-{self.end - 1}"


@dataclass(frozen=True, slots=True)
class Block:
    """One request, and the registers that are wanted of it."""

    register: Register
    wanted: tuple[Register, ...]

    def words(self, wanted: Register, answer: Sequence[int]) -> Sequence[int]:
        """Those of `wanted` in the answer to the whole block."""
        start = wanted.address - self.register.address
        return answer[start : start + wanted.count]


def blocks(registers: Sequence[Register], max_registers: int, max_gap: int) -> tuple[Block, ...]:
    """`registers` in as few requests as `max_registers` in one allow. Up to `max_gap` registers that nobody asked for
    are read along: not every device lets them be read."""
    done: list[list[Register]] = []
    for one in sorted(set(registers), key=lambda r: (r.function, r.address, r.count)):
        last = done[-1] if done else None
        if last and last[0].function == one.function and _fits(last, one, max_registers, max_gap):
            last.append(one)
        else:
            done.append([one])
    return tuple(Block(_hull(group), tuple(group)) for group in done)


def _fits(group: Sequence[Register], one: Register, max_registers: int, max_gap: int) -> bool:
    end = max(register.end for register in group)
    return one.address - end <= max_gap and max(end, one.end) - group[0].address <= max_registers


def _hull(group: Sequence[Register]) -> Register:
    end = max(register.end for register in group)
    return Register(group[0].function, group[0].address, end - group[0].address)


def text(words: Sequence[int], byte_order: str = "big") -> str:
    """What is written in `words`, two characters in each: up to the first zero, without blanks around it. What cannot
    be printed is left out: it comes from a device that nobody vouches for."""
    data = struct.pack(("<" if byte_order == "little" else ">") + f"{len(words)}H", *words)
    read = data.split(b"\0", 1)[0].decode("utf-8", "replace")
    return "".join(letter for letter in read if letter.isprintable()).strip()
