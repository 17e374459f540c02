"""Files that pages load: styles and scripts of ours, and uPlot, which draws charts. Read once, and served under names with their digest."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal, NamedTuple

from app.core.http._security_headers import PAGES

Script = Literal["charts", "copy", "live"]
"""What a page may run. ``charts``: lines from the numbers of tables. ``copy``: a button beside a block of code. ``live``: fetch the page's
changing part every few seconds, when the reader switches it on."""

_HERE = Path(__file__).parent / "assets"
_TYPES = {".css": "text/css", ".js": "text/javascript"}


class Asset(NamedTuple):
    """A file as it is served. ``name`` changes with what is in it, so that a browser may keep it for ever."""

    name: str
    content: bytes
    media_type: str

    @property
    def path(self) -> str:
        """Where it is served."""
        return f"{PAGES}/assets/{self.name}"


def _asset(file: str) -> Asset:
    path = _HERE / file
    content = path.read_bytes()
    return Asset(f"{path.stem}.{sha256(content).hexdigest()[:16]}{path.suffix}", content, _TYPES[path.suffix])


STYLE: Final = _asset("pages.css")
"""The style of all pages."""

_STYLES: Final[dict[Script, tuple[Asset, ...]]] = {"charts": (_asset("uplot/uPlot.min.css"),)}
_SCRIPTS: Final[dict[Script, tuple[Asset, ...]]] = {
    "charts": (_asset("uplot/uPlot.iife.min.js"), _asset("charts.js")),
    "copy": (_asset("copy.js"),),
    "live": (_asset("live.js"),),
}
_SERVED: Final = {
    asset.name: asset for kit in ((STYLE,), *_STYLES.values(), *_SCRIPTS.values()) for asset in kit
}


def find_asset(name: str) -> Asset | None:
    """The file of this name, if there is one."""
    return _SERVED.get(name)


def styles_for(scripts: Sequence[Script]) -> list[str]:
    """The paths of the styles of a page with these scripts. What a library brings comes before ours, which so has the last word."""
    return [asset.path for script in scripts for asset in _STYLES.get(script, ())] + [STYLE.path]


def scripts_for(scripts: Sequence[Script]) -> list[str]:
    """The paths of the scripts, in the order in which they must run."""
    return [asset.path for script in scripts for asset in _SCRIPTS[script]]
