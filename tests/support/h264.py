"""Parser of H.264 parameter sets and slice headers, as far as a video of ours uses them.

The names and the order of the elements are those of the standard (ITU-T H.264, sections 7.3.2.1,
7.3.2.2, 7.3.3 and E.1.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

IDR, SEI, SPS, PPS = 5, 6, 7, 8
"""Types of NAL units (table 7-1); 1 is a slice that is not of an IDR picture."""
HIGH = 100
"""``profile_idc`` of the High profile (section A.2.4)."""


class Bits:
    """Reader of the bits of a NAL unit, without its emulation prevention bytes."""

    def __init__(self, unit: bytes) -> None:
        data = unit.replace(b"\0\0\3", b"\0\0")
        self._bits = "".join(f"{byte:08b}" for byte in data)
        self._next = 0

    def u(self, count: int) -> int:
        """Return an unsigned number of ``count`` bits."""
        found = self._bits[self._next : self._next + count]
        assert len(found) == count, "the NAL unit is too short"
        self._next += count
        return int(found, 2)

    def ue(self) -> int:
        """Return an unsigned Exp-Golomb number."""
        zeros = self._bits.index("1", self._next) - self._next
        self._next += zeros
        return self.u(zeros + 1) - 1

    def se(self) -> int:
        """Return a signed Exp-Golomb number."""
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)


class Sps(NamedTuple):
    """Sequence parameter set."""

    profile_idc: int
    level_idc: int
    log2_max_frame_num: int
    pic_order_cnt_type: int
    log2_max_pic_order_cnt_lsb: int
    max_num_ref_frames: int
    size: tuple[int, int]
    """Width and height in pixels, after cropping."""
    sar: tuple[int, int]
    full_range: int
    colour: tuple[int, int, int]
    """Primaries, transfer characteristics and matrix (tables E-3 to E-5)."""
    max_num_reorder_frames: int


class Pps(NamedTuple):
    """Picture parameter set."""

    cabac: int
    pic_init_qp: int
    weighted_pred: int


class Slice(NamedTuple):
    """Header of a slice."""

    nal_unit_type: int
    nal_ref_idc: int
    slice_type: int
    """0 is P, 1 is B, 2 is I (table 7-6)."""
    frame_num: int
    pic_order_cnt_lsb: int


def annex_b(data: bytes) -> list[bytes]:
    """Return the NAL units of a byte stream with start codes."""
    units = re.split(b"\0?\0\0\1", data)
    assert units[0] == b"", "the stream does not begin with a start code"
    return units[1:]


def length_prefixed(data: bytes) -> list[bytes]:
    """Return the NAL units of a packet of an MP4 file."""
    units: list[bytes] = []
    while data:
        size = int.from_bytes(data[:4])
        units.append(data[4 : 4 + size])
        assert len(units[-1]) == size
        data = data[4 + size :]
    return units


def parameter_sets(avcc: bytes) -> tuple[bytes, bytes]:
    """Return the SPS and the PPS of the decoder configuration of an MP4 file, one of each."""
    assert avcc[0] == 1
    assert avcc[5] & 0x1F == 1, "one SPS"
    size = int.from_bytes(avcc[6:8])
    sps, rest = avcc[8 : 8 + size], avcc[8 + size :]
    assert rest[0] == 1, "one PPS"
    size = int.from_bytes(rest[1:3])
    return sps, rest[3 : 3 + size]


def read_sps(unit: bytes) -> Sps:
    assert unit[0] & 0x1F == SPS
    bits = Bits(unit[1:])
    profile, _constraints, level = bits.u(8), bits.u(8), bits.u(8)
    bits.ue()  # seq_parameter_set_id
    assert profile == HIGH, "other profiles have other elements here"
    assert bits.ue() == 1, "chroma_format_idc 4:2:0"
    assert (bits.ue(), bits.ue()) == (0, 0), "8 bits"
    assert (bits.u(1), bits.u(1)) == (0, 0), "no transform bypass, no scaling matrix"
    frame_num_bits = bits.ue() + 4
    order_type = bits.ue()
    order_bits = bits.ue() + 4 if order_type == 0 else 0
    assert order_type == 0
    references = bits.ue()
    assert bits.u(1) == 0, "no gaps in frame_num"
    width, height = 16 * (bits.ue() + 1), 16 * (bits.ue() + 1)
    assert bits.u(1) == 1, "frame_mbs_only_flag"
    bits.u(1)  # direct_8x8_inference_flag
    if bits.u(1):
        left, right, top, bottom = (2 * bits.ue() for _ in range(4))
        width, height = width - left - right, height - top - bottom
    assert bits.u(1) == 1, "vui_parameters_present_flag"
    sar, full_range, colour, reorder = _read_vui(bits)
    return Sps(
        *(profile, level, frame_num_bits, order_type, order_bits, references),
        *((width, height), sar, full_range, colour, reorder),
    )


def _read_vui(bits: Bits) -> tuple[tuple[int, int], int, tuple[int, int, int], int]:
    assert bits.u(1) == 1, "aspect_ratio_info_present_flag"
    idc = bits.u(8)
    sar = (1, 1) if idc == 1 else (bits.u(16), bits.u(16))
    if bits.u(1):
        bits.u(1)  # overscan_appropriate_flag
    assert bits.u(1) == 1, "video_signal_type_present_flag"
    bits.u(3)  # video_format
    full_range = bits.u(1)
    assert bits.u(1) == 1, "colour_description_present_flag"
    colour = (bits.u(8), bits.u(8), bits.u(8))
    if bits.u(1):
        bits.ue()
        bits.ue()  # positions of chroma samples
    if bits.u(1):
        bits.u(32)
        bits.u(32)
        bits.u(1)  # timing
    assert (bits.u(1), bits.u(1)) == (0, 0), "no HRD parameters"
    bits.u(1)  # pic_struct_present_flag
    assert bits.u(1) == 1, "bitstream_restriction_flag"
    bits.u(1)
    for _ in range(4):
        bits.ue()  # limits of sizes and vectors
    return sar, full_range, colour, bits.ue()


def read_pps(unit: bytes) -> Pps:
    assert unit[0] & 0x1F == PPS
    bits = Bits(unit[1:])
    bits.ue()
    bits.ue()
    cabac = bits.u(1)
    assert bits.u(1) == 0, "no field order"
    assert bits.ue() == 0, "one slice group"
    bits.ue()
    bits.ue()  # default numbers of references
    weighted = bits.u(1)
    bits.u(2)  # weighted_bipred_idc
    return Pps(cabac, bits.se() + 26, weighted)


def read_slice(unit: bytes, sps: Sps) -> Slice:
    kind, reference = unit[0] & 0x1F, unit[0] >> 5
    assert kind in (1, IDR)
    bits = Bits(unit[1:33])
    assert bits.ue() == 0, "first_mb_in_slice: one slice for each picture"
    slice_type = bits.ue() % 5
    bits.ue()  # pic_parameter_set_id
    frame_num = bits.u(sps.log2_max_frame_num)
    if kind == IDR:
        bits.ue()  # idr_pic_id
    order = bits.u(sps.log2_max_pic_order_cnt_lsb)
    return Slice(kind, reference, slice_type, frame_num, order)


def picture_slices(pictures: Iterable[list[bytes]], sps: Sps) -> Iterator[Slice]:
    """Yield the header of the one slice of each picture, which are given in decoding order."""
    for units in pictures:
        (header,) = (read_slice(unit, sps) for unit in units if unit[0] & 0x1F in (1, IDR))
        yield header


def check_counters(slices: Iterable[Slice], positions: Iterable[int], sps: Sps) -> int:
    """Check ``frame_num`` and ``pic_order_cnt_lsb`` of every picture; return their number.

    ``positions`` are those of the pictures in their GOPs, in the order of display. In a closed
    GOP, ``frame_num`` is the number of earlier reference pictures (section 7.4.3), and the order
    count of the picture at position n is 2n (section 8.2.1), or n in all pictures of the GOP.
    """
    references = count = 0
    factor = 0
    for found, position in zip(slices, positions, strict=True):
        if found.nal_unit_type == IDR:
            assert position == 0
            references, factor = 0, 0
        modulus = 2**sps.log2_max_pic_order_cnt_lsb
        if not factor and position:
            factor = 1 if found.pic_order_cnt_lsb == position % modulus else 2
        assert found.frame_num == references % 2**sps.log2_max_frame_num, (count, found)
        assert found.pic_order_cnt_lsb == factor * position % modulus, (count, found)
        references += found.nal_ref_idc > 0
        count += 1
    return count
