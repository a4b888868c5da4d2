"""Every model, with functions that draw its operations and compute their results."""

from __future__ import annotations

import random
from typing import Any

from harness.history.columns import DIFFERED
from harness.models.bank import Bank
from harness.models.counter import Counter
from harness.models.fields import Hash, SortedSet
from harness.models.fifo import FifoQueue
from harness.models.list_append import ListAppend
from harness.models.list_queue import ListQueue
from harness.models.multi_register import MultiRegister
from harness.models.mutex import Mutex, OwnedLock
from harness.models.priority_queue import PriorityQueue
from harness.models.register import CasRegister, Register
from harness.models.set import GrowSet, Set
from harness.models.stack import Stack
from harness.models.text import Text
from harness.models.transactions import Transactions


def ask_register(rng: random.Random, i: int) -> tuple[str, Any]:
    return ("read", None) if rng.random() < 0.5 else ("write", rng.randrange(3))


def ask_unique_register(rng: random.Random, i: int) -> tuple[str, Any]:
    return ("read", None) if rng.random() < 0.5 else ("write", i + 1)


def ask_cas(rng: random.Random, i: int) -> tuple[str, Any]:
    if rng.random() < 0.4:
        return "cas", (rng.choice([None, 0, 1, 2]), rng.randrange(3))
    return ask_register(rng, i)


def ask_unique_cas(rng: random.Random, i: int) -> tuple[str, Any]:
    if rng.random() < 0.4:
        return "cas", (rng.choice([None, *range(1, i + 1)]), i + 1)
    return ask_unique_register(rng, i)


def ask_list(rng: random.Random, i: int) -> tuple[str, Any]:
    return ("read", None) if rng.random() < 0.5 else ("append", i)


def ask_set(rng: random.Random, i: int) -> tuple[str, Any]:
    return ("read", None) if rng.random() < 0.5 else ("add", rng.randrange(4))


def ask_counter(rng: random.Random, i: int) -> tuple[str, Any]:
    return ("read", None) if rng.random() < 0.4 else ("add", rng.choice([1, 1, 2, -1]))


def ask_unit_counter(rng: random.Random, i: int) -> tuple[str, Any]:
    return ("read", None) if rng.random() < 0.3 else ("add", -2)


def ask_transaction(rng: random.Random, i: int) -> tuple[str, Any]:
    """Draw a transaction, often a read or write of all registers."""
    if rng.random() < 0.4:
        return "read", (("r", 0, None), ("r", 1, None))
    if rng.random() < 0.3:
        return "txn", (("w", 0, i), ("w", 1, i))
    count = rng.randint(1, 3)
    steps = [(rng.choice("rw"), rng.randrange(2), rng.randrange(2)) for _ in range(count)]
    return "txn", tuple((w, k, v if w == "w" else None) for w, k, v in steps)


def ask_queue(rng: random.Random, i: int) -> tuple[str, Any]:
    return ("dequeue", None) if rng.random() < 0.5 else ("enqueue", rng.randrange(3))


def ask_unique_queue(rng: random.Random, i: int) -> tuple[str, Any]:
    return ("dequeue", None) if rng.random() < 0.5 else ("enqueue", i + 1)


def answer_queue(f: str, value: Any, before: Any, after: Any) -> Any:
    return (before[0] if before else None) if f == "dequeue" else value


def ask_list_queue(rng: random.Random, i: int) -> tuple[str, Any]:
    """Draw a push of a unique value, a pop or a read."""
    return rng.choice([("pop", None), ("push", i + 1), ("push", i + 1), ("read", None)])


def ask_repeating_list_queue(rng: random.Random, i: int) -> tuple[str, Any]:
    return rng.choice([("pop", None), ("push", rng.randrange(2)), ("read", None)])


def answer_list_queue(f: str, value: Any, before: Any, after: Any) -> Any:
    if f == "push":
        return (value, len(after))
    return after if f == "read" else before[0] if before else None


def ask_stack(rng: random.Random, i: int) -> tuple[str, Any]:
    return ("pop", None) if rng.random() < 0.5 else ("push", rng.randrange(3))


def ask_unique_stack(rng: random.Random, i: int) -> tuple[str, Any]:
    return ("pop", None) if rng.random() < 0.5 else ("push", i + 1)


def answer_stack(f: str, value: Any, before: Any, after: Any) -> Any:
    return (before[-1] if before else None) if f == "pop" else value


def ask_priority_queue(rng: random.Random, i: int) -> tuple[str, Any]:
    return ("remove-min", None) if rng.random() < 0.5 else ("insert", rng.randrange(3))


def ask_unique_priority_queue(rng: random.Random, i: int) -> tuple[str, Any]:
    return ("remove-min", None) if rng.random() < 0.5 else ("insert", (rng.randrange(3), i))


def answer_priority_queue(f: str, value: Any, before: Any, after: Any) -> Any:
    return (before[0] if before else None) if f == "remove-min" else value


def ask_full_set(rng: random.Random, i: int) -> tuple[str, Any]:
    f = rng.choice(["add", "remove", "contains", "contains", "read"])
    return f, None if f == "read" else rng.randrange(2)


def ask_members(rng: random.Random, i: int) -> tuple[str, Any]:
    return rng.choice(["add", "remove", "contains", "contains"]), rng.randrange(2)


def answer_set(f: str, value: Any, before: Any, after: Any) -> Any:
    if f == "read":
        return tuple(sorted(after))
    return (value, value in before if f == "contains" else before != after)


def ask_hash(rng: random.Random, i: int) -> tuple[str, Any]:
    f = rng.choice(["set", "get", "get", "delete", "read"])
    field = rng.choice("ab")
    return f, None if f == "read" else (field, rng.randrange(2)) if f == "set" else field


def ask_fields(rng: random.Random, i: int) -> tuple[str, Any]:
    f, value = ask_hash(rng, i)
    return ("get", "a") if f == "read" else (f, value)


def answer_hash(f: str, value: Any, before: Any, after: Any) -> Any:
    if f == "read":
        return tuple(sorted(after))
    if f in ("get", "score"):
        return (value, dict(before).get(value))
    if f == "pop-min":
        return min(before, key=lambda pair: (pair[1], pair[0]), default=None)
    field = value[0] if f in ("set", "add") else value
    was = field in dict(before)
    return (*value, not was) if f in ("set", "add") else (value, was)


def ask_sorted_set(rng: random.Random, i: int) -> tuple[str, Any]:
    f = rng.choice(["add", "add", "score", "remove", "pop-min", "read"])
    member = rng.choice("ab")
    if f in ("pop-min", "read"):
        return f, None
    return f, (member, rng.randrange(2)) if f == "add" else member


def ask_lists(rng: random.Random, i: int) -> tuple[str, Any]:
    """Draw a transaction on two lists and a register."""
    steps = []
    for step in range(rng.randint(1, 3)):
        key = rng.choice("xyz")
        writes = ("w", key, i) if key == "z" else ("append", key, 10 * i + step)
        steps.append(("r", key, None) if rng.random() < 0.5 else writes)
    return ("read" if all(what == "r" for what, _, _ in steps) else "txn"), tuple(steps)


def answer_lists(f: str, value: Any, before: Any, after: Any) -> Any:
    contents, seen = dict(before), []
    for what, key, each in value:
        if what == "append":
            contents[key] = (*contents.get(key, ()), each)
        elif what == "w":
            contents[key] = each
        seen.append((what, key, contents.get(key) if what == "r" else each))
    return tuple(seen)


def ask_bank(rng: random.Random, i: int) -> tuple[str, Any]:
    if rng.random() < 0.5:
        return "read", None
    start = rng.randrange(2)
    return "transfer", (("amount", rng.randint(1, 3)), ("from", start), ("to", 1 - start))


def answer_bank(f: str, value: Any, before: Any, after: Any) -> Any:
    if f != "read":
        return value
    known, balances = before
    changed = dict(balances)
    return tuple(sorted(changed.items() if known else {a: 3 + changed.get(a, 0)
                                                      for a in range(2)}.items()))  # fmt: skip


def ask_lock(rng: random.Random, i: int) -> tuple[str, Any]:
    """Draw an operation of one of three owners; its result is its value."""
    return rng.choice(["acquire", "release"]), rng.randrange(3)


def ask_text(rng: random.Random, i: int) -> tuple[str, Any]:
    return rng.choice([("get", None), ("put", f"{i % 3}"), ("append", f"{i % 2}")])


def answer_text(f: str, value: Any, before: Any, after: Any) -> Any:
    return before if f == "get" else value


def answer(f: str, value: Any, before: Any, after: Any) -> Any:
    if f in ("txn", "read") and value is not None:
        registers, seen = list(before), []
        for what, register, each in value:
            if what == "w":
                registers[register] = each
            seen.append((what, register, registers[register]))
        return tuple(seen)
    if f == "read":
        return tuple(sorted(after)) if isinstance(after, frozenset) else after
    if f == "cas":
        return (*value, before)
    if f == "append":
        return (value, len(after))
    if f == "add" and isinstance(after, int):
        return (value, after)
    return value


def answer_differing(f: str, value: Any, before: Any, after: Any) -> Any:
    """Return the result, without the value that a failed compare-and-set saw."""
    if f == "cas" and before != value[0]:
        return (*value, DIFFERED)
    return answer(f, value, before, after)


CASES = {
    "register": (Register(), ask_register, answer),
    "unique-register": (Register(), ask_unique_register, answer),
    "cas-register": (CasRegister(), ask_cas, answer),
    "cas-register-that-keeps-to-itself": (CasRegister(), ask_cas, answer_differing),
    "unique-cas-register": (CasRegister(), ask_unique_cas, answer),
    "unique-cas-register-that-keeps-to-itself": (CasRegister(), ask_unique_cas, answer_differing),
    "list": (ListAppend(), ask_list, answer),
    "growing-set": (GrowSet(), ask_set, answer),
    "set": (Set(), ask_full_set, answer_set),
    "set-that-is-added-to": (Set(), ask_set, answer_set),
    "set-of-members": (Set(), ask_members, answer_set),
    "hash": (Hash(), ask_hash, answer_hash),
    "hash-of-fields": (Hash(), ask_fields, answer_hash),
    "sorted-set": (SortedSet(), ask_sorted_set, answer_hash),
    "counter": (Counter(), ask_counter, answer),
    "unit-counter": (Counter(), ask_unit_counter, answer),
    "multi-register": (MultiRegister(2), ask_transaction, answer),
    "fifo-queue": (FifoQueue(), ask_queue, answer_queue),
    "unique-fifo-queue": (FifoQueue(), ask_unique_queue, answer_queue),
    "list-queue": (ListQueue(), ask_list_queue, answer_list_queue),
    "repeating-list-queue": (ListQueue(), ask_repeating_list_queue, answer_list_queue),
    "stack": (Stack(), ask_stack, answer_stack),
    "unique-stack": (Stack(), ask_unique_stack, answer_stack),
    "priority-queue": (PriorityQueue(), ask_priority_queue, answer_priority_queue),
    "unique-priority-queue": (PriorityQueue(), ask_unique_priority_queue, answer_priority_queue),
    "transactions": (Transactions(), ask_lists, answer_lists),
    "bank": (Bank(), ask_bank, answer_bank),
    "mutex": (Mutex(), ask_lock, answer),
    "lock": (OwnedLock(), ask_lock, answer),
    "text": (Text(), ask_text, answer_text),
}
