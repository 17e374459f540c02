"""Rotation while processes run: what is put into a folder is taken up, what is broken is not, and nobody refuses anybody's tokens."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from app.core.errors import ConfigurationError
from app.core.resilience import ManualClock
from app.core.security import Algorithm, InvalidToken, KeyFolder, KeyRotation, TokenKey, TokenService
from app.core.security._compact import read_compact
from app.core.security._key_file import KeyFile
from app.core.security._key_folder import CHECK_S, MARGIN_S, MAX_FILES

START = 1_800_000_000.0
TTL_S = 900
LEAD_S = 600
SECRET = TokenKey.from_secret("the-secret-that-signed-before-there-were-keys")
FORMER = TokenKey.from_secret("another-secret-that-is-still-accepted-here")


class Place:
    """A folder, an operator, and processes that watch it, on one clock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = ManualClock(start=START)
        self.rotation = KeyRotation(path, ttl_s=TTL_S, clock=self.clock)

    def process(self, *secrets: TokenKey) -> TokenService:
        keys = KeyFolder(self.path, ttl_s=TTL_S, clock=self.clock, secrets=secrets)
        return TokenService(keys, issuer="i", audience="a", ttl_s=TTL_S, clock=self.clock)

    def first(self, lead_s: int = LEAD_S) -> str:
        """A folder whose only key signs now."""
        kid = self.rotation.rotate(lead_s=lead_s).kid
        self.clock.advance(lead_s)
        return kid

    def files(self) -> list[str]:
        return sorted(each.name for each in self.path.iterdir())

    def states(self) -> list[str]:
        return [status.state for status in self.rotation.statuses()]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "keys")


def kid_of(tokens: TokenService) -> str:
    return str(read_compact(tokens.issue("u").token).header["kid"])


def reason(tokens: TokenService, text: str) -> str:
    with pytest.raises(InvalidToken) as refused:
        tokens.verify(text)
    return refused.value.reason


class TestRotation:
    def test_a_new_key_waits_then_signs_then_the_old_one_verifies_until_its_tokens_ran_out(
        self, place: Place
    ) -> None:
        old = place.first()
        tokens = place.process()
        new = place.rotation.rotate(lead_s=LEAD_S).kid
        assert place.states() == ["signing", "upcoming"]
        place.clock.advance(LEAD_S - 0.1)
        last = tokens.issue("u").token
        assert kid_of(tokens) == old
        place.clock.advance(0.1)
        assert kid_of(tokens) == new
        assert place.states() == ["retired", "signing"]
        place.clock.advance(TTL_S - 2)
        assert tokens.verify(last).id == "u"
        place.clock.advance(MARGIN_S + 2)
        assert place.states() == ["over", "signing"]
        assert reason(tokens, last) == "expired"

    def test_a_process_that_has_not_looked_yet_and_one_that_has_accept_each_others_tokens(
        self, place: Place
    ) -> None:
        place.first()
        late, early = place.process(), place.process()
        place.clock.advance(CHECK_S)
        late.issue("u")  # looks now, and so not again for a while
        place.clock.advance(0.5)
        place.rotation.rotate(lead_s=LEAD_S)
        early_starts = place.process()
        assert late._keys.kids != early_starts._keys.kids
        for _ in range(12):
            shown = [each.issue("u").token for each in (late, early, early_starts)]
            for reader in (late, early, early_starts):
                assert [reader.verify(text).id for text in shown] == ["u"] * 3
            place.clock.advance(100)

    def test_clocks_that_differ_refuse_nothing(self, place: Place) -> None:
        place.first()
        place.rotation.rotate(lead_s=LEAD_S)
        behind = TokenService(
            KeyFolder(place.path, ttl_s=TTL_S, clock=place.clock), issuer="i", audience="a", clock=place.clock
        )
        ahead_clock = ManualClock(start=place.clock.time() + 4)
        ahead = TokenService(
            KeyFolder(place.path, ttl_s=TTL_S, clock=ahead_clock), issuer="i", audience="a", clock=ahead_clock
        )
        for clock in (place.clock, ahead_clock):
            clock.advance(LEAD_S - 2)
        assert kid_of(behind) != kid_of(ahead)
        assert behind.verify(ahead.issue("u").token).id == ahead.verify(behind.issue("u").token).id == "u"

    def test_a_second_key_cannot_wait_beside_the_first(self, place: Place) -> None:
        place.first()
        place.rotation.rotate()
        with pytest.raises(ConfigurationError, match="waiting already"):
            place.rotation.rotate()
        assert len(place.files()) == 2

    def test_keys_that_are_over_are_removed_with_the_next_rotation_and_no_others(self, place: Place) -> None:
        first = place.first()
        second = place.first()
        third = place.first()
        assert [status.kid for status in place.rotation.statuses()] == [first, second, third]
        place.clock.advance(TTL_S + MARGIN_S - LEAD_S)
        fourth = place.rotation.rotate().kid
        assert place.files() == sorted(f"{kid}.pem" for kid in (second, third, fourth))

    @pytest.mark.parametrize("lead_s", [0, 9, 2_592_001])
    def test_a_key_must_wait_long_enough_to_be_known(self, place: Place, lead_s: int) -> None:
        with pytest.raises(ConfigurationError, match="10 to"):
            place.rotation.rotate(lead_s=lead_s)

    @pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
    def test_a_rotation_may_change_the_algorithm(
        self, place: Place, algorithm: Algorithm, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("app.core.security._key_file._RSA_BITS", 2048)
        place.first()
        tokens = place.process()
        old = tokens.issue("u").token
        place.rotation.rotate(algorithm, lead_s=LEAD_S)
        place.clock.advance(LEAD_S)
        assert tokens.verify(tokens.issue("v").token).id == "v"
        assert tokens.verify(old).id == "u"
        assert {one["alg"] for one in tokens.published()} == {"EdDSA", algorithm}


class TestTheSecretBefore:
    def test_the_secret_signs_until_the_first_key_does_and_verifies_until_its_tokens_ran_out(
        self, place: Place
    ) -> None:
        first = place.rotation.rotate(lead_s=LEAD_S).kid
        tokens = place.process(SECRET, FORMER)
        by_former = TokenService([FORMER], issuer="i", audience="a", clock=place.clock, ttl_s=86_400)
        assert kid_of(tokens) == SECRET.kid
        assert tokens.verify(by_former.issue("u").token).id == "u"
        place.clock.advance(LEAD_S)
        before = TokenService([SECRET], issuer="i", audience="a", clock=place.clock, ttl_s=86_400)
        text, other = before.issue("u").token, by_former.issue("u").token
        assert kid_of(tokens) == first
        assert (tokens.verify(text).id, tokens.verify(other).id) == ("u", "u")
        place.clock.advance(TTL_S + MARGIN_S)
        fresh = place.process(SECRET, FORMER)
        assert (reason(fresh, text), reason(fresh, other)) == ("kid", "kid")
        assert [one["kid"] for one in tokens.published()] == [first]

    def test_a_folder_whose_first_key_is_gone_does_not_take_the_secret_back(self, place: Place) -> None:
        first = place.first()
        place.rotation.rotate(lead_s=LEAD_S)
        place.rotation.retire(first)
        tokens = place.process(SECRET)
        by_secret = TokenService([SECRET], issuer="i", audience="a", clock=place.clock)
        assert reason(tokens, by_secret.issue("u").token) in {"kid", "alg"}

    def test_without_a_secret_a_folder_whose_key_waits_stops_the_start(self, place: Place) -> None:
        place.rotation.rotate()
        with pytest.raises(ConfigurationError, match="no key that signs already"):
            place.process()


class TestRetiring:
    def test_the_signing_key_gives_way_to_the_waiting_one_and_its_tokens_end_remembered_ones_too(
        self, place: Place
    ) -> None:
        old = place.first()
        tokens = place.process()
        text = tokens.issue("u").token
        assert tokens.verify(text) is tokens.verify(text)
        new = place.rotation.rotate(lead_s=LEAD_S).kid
        left = place.rotation.retire(old)
        assert [(status.kid, status.state) for status in left] == [(new, "signing")]
        place.clock.advance(CHECK_S)
        assert reason(tokens, text) == "kid"
        assert kid_of(tokens) == new
        assert place.files() == [f"{new}.pem"]

    def test_a_retired_key_can_go_before_its_time(self, place: Place) -> None:
        old, new = place.first(), place.first()
        assert [status.kid for status in place.rotation.retire(old)] == [new]

    def test_the_only_key_stays(self, place: Place) -> None:
        kid = place.first()
        with pytest.raises(ConfigurationError, match="keys signing rotate"):
            place.rotation.retire(kid)
        assert place.files() == [f"{kid}.pem"]

    @pytest.mark.parametrize("kid", ["nobody", "../nobody", ""])
    def test_a_key_that_is_not_there_is_said_so(self, place: Place, kid: str) -> None:
        place.first()
        with pytest.raises(ConfigurationError, match="There is no key"):
            place.rotation.retire(kid)


def broken_file(path: Path) -> None:
    (path / "broken.pem").write_bytes(b"signs-from: 2020-01-01T00:00:00Z\n-----BEGIN PRIVATE KEY-----\nAAAA")
    (path / "broken.pem").chmod(0o600)


def half_a_key(path: Path) -> None:
    (file,) = path.glob("*.pem")
    file.write_bytes(file.read_bytes()[:80])


def another_key_under_its_name_for_all_to_read(path: Path) -> None:
    (file,) = path.glob("*.pem")
    file.write_bytes(KeyFile.make(file.stem, "EdDSA", START).document())
    file.chmod(0o644)


def all_gone(path: Path) -> None:
    for file in path.iterdir():
        file.unlink()


def folder_gone(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def only_one_that_waits(path: Path) -> None:
    all_gone(path)
    (path / "later.pem").write_bytes(KeyFile.make("later", "EdDSA", START + 1_000_000).document())
    (path / "later.pem").chmod(0o600)


def too_many(path: Path) -> None:
    (file,) = path.glob("*.pem")
    for number in range(MAX_FILES):
        (path / f"more-{number}.pem").write_bytes(file.read_bytes())


def a_folder_in_place_of_a_file(path: Path) -> None:
    (path / "folder.pem").mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path / "pipe.pem", 0o600)


def a_link_to_nothing(path: Path) -> None:
    (path / "link.pem").symlink_to(path / "nothing")


def a_link_to_itself(path: Path) -> None:
    (path / "link.pem").symlink_to(path / "link.pem")


def a_name_that_is_no_id(path: Path) -> None:
    (file,) = path.glob("*.pem")
    (path / "a b.pem").write_bytes(file.read_bytes())
    (path / "a b.pem").chmod(0o600)


BREAKING = [
    broken_file, half_a_key, another_key_under_its_name_for_all_to_read, all_gone, folder_gone, only_one_that_waits, too_many,
    a_folder_in_place_of_a_file, a_pipe, a_link_to_nothing, a_link_to_itself, a_name_that_is_no_id,
]  # fmt: skip


@pytest.mark.parametrize("breaking", BREAKING)
class TestWhatIsBroken:
    def test_a_process_that_runs_goes_on_as_it_was_and_says_so_once(
        self, place: Place, breaking: Callable[[Path], None]
    ) -> None:
        kid = place.first()
        tokens = place.process(SECRET)
        text, known = tokens.issue("u").token, tokens._keys
        breaking(place.path)
        with capture_logs() as logs:
            for _ in range(3):
                place.clock.advance(CHECK_S)
                assert tokens.verify(text).id == "u"
                assert kid_of(tokens) == kid
        assert tokens._keys is known
        assert [(line["event"], line["log_level"]) for line in logs] == [("tokens.keys_not_read", "error")]

    def test_a_process_that_starts_does_not(self, place: Place, breaking: Callable[[Path], None]) -> None:
        place.first()
        breaking(place.path)
        with pytest.raises(ConfigurationError):
            place.process(SECRET)


class TestRepair:
    def test_a_repaired_folder_is_taken_up_and_breaking_it_again_is_told_again(self, place: Place) -> None:
        place.first()
        tokens = place.process()
        with capture_logs() as logs:
            for _ in range(2):
                broken_file(place.path)
                place.clock.advance(CHECK_S)
                tokens.issue("u")
                (place.path / "broken.pem").unlink()
                place.clock.advance(CHECK_S)
                tokens.issue("u")
        assert [line["event"] for line in logs] == ["tokens.keys_not_read", "tokens.keys_read"] * 2

    def test_the_folder_is_not_looked_at_more_often_than_every_two_seconds(self, place: Place) -> None:
        place.first()
        tokens = place.process()
        known = tokens._keys
        place.rotation.rotate()
        place.clock.advance(CHECK_S - 0.1)
        tokens.issue("u")
        assert tokens._keys is known
        place.clock.advance(0.1)
        tokens.issue("u")
        assert tokens._keys is not known

    def test_a_mounted_secret_that_is_replaced_by_turning_a_link_is_taken_up(self, tmp_path: Path) -> None:
        one, two = Place(tmp_path / "one"), Place(tmp_path / "two")
        one.first()
        place = Place(tmp_path / "keys")
        place.clock = one.clock
        place.path.symlink_to(one.path)
        tokens = place.process()
        two.path.mkdir(mode=0o700)
        for file in one.path.iterdir():
            (two.path / file.name).write_bytes(file.read_bytes())
            (two.path / file.name).chmod(0o600)
        two.clock.advance(LEAD_S)
        new = two.rotation.rotate(lead_s=LEAD_S).kid
        (tmp_path / "turned").symlink_to(two.path)
        (tmp_path / "turned").replace(place.path)
        place.clock.advance(CHECK_S)
        tokens.issue("u")
        assert new in tokens._keys.kids


class TestFiles:
    def test_folder_and_files_are_private_and_nothing_half_written_stays(self, place: Place) -> None:
        kid = place.first()
        assert stat.S_IMODE(place.path.stat().st_mode) == 0o700
        assert stat.S_IMODE((place.path / f"{kid}.pem").stat().st_mode) == 0o600
        assert place.files() == [f"{kid}.pem"]

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for others")
    def test_what_root_makes_belongs_to_the_folders_owner(self, place: Place) -> None:
        place.path.mkdir(mode=0o700)
        os.chown(place.path, 12_345, 12_346)
        kid = place.rotation.rotate().kid
        made = (place.path / f"{kid}.pem").stat()
        assert (made.st_uid, made.st_gid, stat.S_IMODE(made.st_mode)) == (12_345, 12_346, 0o600)

    @pytest.mark.parametrize("mode", [0o701, 0o704, 0o755, 0o777])
    def test_a_folder_that_others_may_use_is_refused(self, place: Place, mode: int) -> None:
        place.path.mkdir()
        place.path.chmod(mode)
        with pytest.raises(ConfigurationError, match="chmod 700"):
            place.rotation.rotate()
        assert place.files() == []

    def test_a_folder_with_something_broken_in_it_is_not_changed(self, place: Place) -> None:
        kid = place.first()
        broken_file(place.path)
        for change in (place.rotation.rotate, lambda: place.rotation.retire(kid)):
            with pytest.raises(ConfigurationError, match=r"broken\.pem"):
                change()
        assert place.files() == sorted(["broken.pem", f"{kid}.pem"])

    @pytest.mark.parametrize("breaking", BREAKING)
    def test_whatever_is_broken_is_said_to_the_operator(
        self, place: Place, breaking: Callable[[Path], None]
    ) -> None:
        place.first()
        breaking(place.path)
        if breaking is only_one_that_waits:
            assert [status.state for status in place.rotation.statuses()] == ["upcoming"]
            return
        with pytest.raises(ConfigurationError, match=str(place.path)):
            place.rotation.statuses()

    def test_a_write_that_fails_leaves_nothing(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        place.first()
        before = place.files()

        def full(handle: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(ConfigurationError, match="No space left"):
            place.rotation.rotate()
        assert place.files() == before

    def test_a_second_operator_is_refused_meanwhile(self, place: Place) -> None:
        place.first()
        with place.rotation._alone(), pytest.raises(ConfigurationError, match="Somebody else"):
            place.rotation.rotate()
        assert len(place.files()) == 1

    def test_a_file_in_place_of_the_folder_or_no_parent_is_said_so(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        (tmp_path / "file").chmod(0o600)
        for path in (tmp_path / "file", tmp_path / "no" / "folder"):
            with pytest.raises(ConfigurationError, match="cannot be used"):
                Place(path).rotation.rotate()

    def test_nothing_shows_a_key(self, place: Place) -> None:
        kid = place.first()
        line = (place.path / f"{kid}.pem").read_text().splitlines()[2]
        shown = repr(
            (place.process(), KeyFolder(place.path, ttl_s=60, clock=place.clock), place.rotation.statuses())
        )
        assert line not in shown
        assert "PRIVATE" not in shown
