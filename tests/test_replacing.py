"""replacing: the old file or the new one, never half of it."""

import pytest

from kcinn.errors import GridError
from kcinn.replacing import check_folder, replacing


def test_a_file_is_replaced_only_once_it_is_whole(tmp_path):
    path = tmp_path / "table.npz"
    path.write_text("old")
    with replacing(path) as partial:
        assert partial.suffix == ".npz"
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_not_finished_leaves_nothing(tmp_path):
    path = tmp_path / "table.npz"
    path.write_text("old")

    def interrupted():
        with replacing(path) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_no_such_folder(tmp_path):
    with pytest.raises(GridError, match=r"none: no such folder"):
        check_folder(tmp_path / "none" / "grid.h5", GridError)
