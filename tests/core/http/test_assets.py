"""The files that pages load."""

from hashlib import sha256

from app.core.http import Script, find_asset
from app.core.http._assets import STYLE, scripts_for, styles_for

ALL: tuple[Script, ...] = ("charts", "copy", "live")


def test_every_file_of_a_page_is_served_under_a_name_that_changes_with_it() -> None:
    paths = [*styles_for(ALL), *scripts_for(ALL)]
    assert len(set(paths)) == 6
    for path in paths:
        asset = find_asset(path.removeprefix("/ui/assets/"))
        assert asset is not None
        assert f".{sha256(asset.content).hexdigest()[:16]}." in path
        assert asset.media_type == ("text/css" if path.endswith(".css") else "text/javascript")
    assert find_asset("pages.css") is None


def test_a_library_runs_before_what_uses_it_and_our_style_has_the_last_word() -> None:
    assert scripts_for(("charts",))[0].startswith("/ui/assets/uPlot.iife.min.")
    assert styles_for(("charts",))[-1] == STYLE.path
    assert styles_for(()) == [STYLE.path]
    assert scripts_for(()) == []
