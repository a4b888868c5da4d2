"""Clients of external servers follow the newest primary, and never return to an older one."""

from __future__ import annotations

from targets.replicated.lineage import Claim, Lineage


def claim(node: str, id: str, second_id: str = "0", offset: int = 100) -> Claim:
    return Claim(node, id, second_id, offset)


def test_a_replica_that_was_promoted_is_newer_than_its_former_primary() -> None:
    lineage = Lineage()
    assert lineage.newest([claim("n1", "a")]) == "n1"
    both = [claim("n1", "a", offset=900), claim("n2", "b", "a", offset=100)]
    assert lineage.newest(both) == "n2"
    assert lineage.newest(both) == "n2"
    assert lineage.newest([both[0]]) is None  # n2 does not answer: n1 is older all the same
    assert lineage.newest(both) == "n2"


def test_an_older_primary_is_not_followed_even_if_several_promotions_were_missed() -> None:
    lineage = Lineage()
    assert lineage.newest([claim("n1", "a")]) == "n1"
    assert lineage.newest([claim("n3", "c", "b", offset=300)]) == "n3"
    assert lineage.newest([claim("n1", "a"), claim("n3", "c", "b", offset=300)]) == "n3"


def test_a_former_primary_that_was_promoted_again_is_followed() -> None:
    lineage = Lineage()
    lineage.newest([claim("n1", "a")])
    lineage.newest([claim("n2", "b", "a")])
    assert lineage.newest([claim("n1", "c", "b"), claim("n2", "b", "a")]) == "n1"


def test_the_present_primary_is_kept_beside_an_independent_one() -> None:
    lineage = Lineage()
    assert lineage.newest([claim("n1", "a", offset=1), claim("n2", "x", offset=9)]) == "n2"
    assert lineage.newest([claim("n1", "a", offset=99), claim("n2", "x", offset=9)]) == "n2"


def test_servers_that_do_not_say_their_history_are_followed() -> None:
    assert Lineage().newest([claim("n1", "", "")]) == "n1"
    assert Lineage().newest([]) is None
