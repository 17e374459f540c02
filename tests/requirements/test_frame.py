"""The names of the tests here: which block or line of which document each is about."""

import ast
import re
from collections import Counter
from pathlib import Path

from tests.requirements.documents import BLOCKS, LINES

HERE = Path(__file__).parent
BLOCK = re.compile(r"test_(\d{3})_(\d{2})_[a-z]\w+")
LINE = re.compile(r"test_(\d{3})_line_(\d{1,3})_[a-z]\w+")
OF_THE_FRAME = {"test_frame.py", "test_names.py", "test_calls.py"}


def names() -> list[str]:
    """Every test of a document."""
    return [
        node.name
        for file in HERE.glob("test_*.py")
        if file.name not in OF_THE_FRAME
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]


def blocks() -> list[tuple[str, int]]:
    return [(match[1], int(match[2])) for name in names() if (match := BLOCK.fullmatch(name))]


def test_there_are_87_blocks_in_order() -> None:
    assert [len(lines) for lines in BLOCKS.values()] == [17, 12, 16, 24, 18]
    for document, lines in BLOCKS.items():
        assert list(lines) == sorted(set(lines))
        assert lines[-1] < LINES[document]


def test_every_test_says_which_block_or_line_it_is_about() -> None:
    assert [name for name in names() if not BLOCK.fullmatch(name) and not LINE.fullmatch(name)] == []


def test_every_named_block_and_line_exists() -> None:
    assert [found for found in blocks() if not 1 <= found[1] <= len(BLOCKS[found[0]])] == []
    lines = [(match[1], int(match[2])) for name in names() if (match := LINE.fullmatch(name))]
    assert lines
    assert [found for found in lines if not 1 <= found[1] <= LINES[found[0]]] == []


def test_a_block_has_one_test() -> None:
    assert [found for found, times in Counter(blocks()).items() if times > 1] == []


def test_a_documents_tests_stand_in_its_file() -> None:
    for file in HERE.glob("test_[0-9]*.py"):
        document = file.stem.split("_")[1]
        assert set(re.findall(r"def test_(\d{3})_", file.read_text())) == {document}


def test_what_is_shown_so_far_stays_shown() -> None:
    """Grows with each issue; a block that was true once must not lose its test."""
    assert {
        *(("000", number) for number in range(1, 18)),
        *(("001", number) for number in range(1, 13)),
        *(("002", number) for number in range(1, 17)),
        *(("003", number) for number in range(1, 25)),
        ("004", 4),
    } <= set(blocks())
