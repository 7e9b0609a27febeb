"""Steps from what Kong has to what is wanted: minimal, repeatable, in a safe order."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st
from sync_support import KongModel

from kong_scim.bridge import Delete, Revoke, Upsert
from kong_scim.sync.plan import is_reserved, plan
from kong_scim.sync.wanted import Wanted, gone

ID = "6f3b0c0e-3a5c-4c9e-9d43-0f4e37a9a111"
OURS = ("scim", "scim:okta")


def consumer(*groups: str, **fields: object) -> Wanted:
    return Wanted(
        **{
            "id": ID,
            "user_id": ID,
            "tenant": "okta",
            "username": "alice",
            "groups": tuple(sorted(groups)),
            **fields,
        }
    )


def suspended(**fields: object) -> Wanted:
    return consumer(suspended=True, **fields)


def kong_with(wanted: Wanted) -> KongModel:
    kong = KongModel()
    kong.apply(plan(wanted, None))
    return kong


def kinds(steps):
    return [
        (type(step).__name__, getattr(step, "dao", ""))
        if not isinstance(step, Revoke)
        else "Revoke"
        for step in steps
    ]


# -- minimal ---------------------------------------------------------------


def test_a_new_user_is_one_consumer_and_then_its_groups():
    steps = plan(consumer("a", "b"), None)

    assert kinds(steps) == [("Upsert", "consumers"), ("Upsert", "acls"), ("Upsert", "acls")]


def test_nothing_is_done_where_nothing_differs():
    wanted = consumer("a", "b", custom_id="x")
    kong = kong_with(wanted)

    assert plan(wanted, kong.read(ID)) == []


def test_one_more_group_is_one_step():
    kong = kong_with(consumer("a"))

    (step,) = plan(consumer("a", "b"), kong.read(ID))

    assert isinstance(step, Upsert)
    assert step.unless_present
    assert step.entity["group"] == "b"
    assert step.entity["tags"] == list(OURS)


def test_one_group_less_is_one_step():
    kong = kong_with(consumer("a", "b"))

    assert kinds(plan(consumer("b"), kong.read(ID))) == [("Delete", "acls")]


def test_a_rename_touches_the_consumer_alone():
    kong = kong_with(consumer("a"))

    assert kinds(plan(consumer("a", username="bob"), kong.read(ID))) == [("Upsert", "consumers")]


def test_a_custom_id_that_is_gone_is_cleared():
    kong = kong_with(consumer(custom_id="x"))

    kong.apply(plan(consumer(), kong.read(ID)))

    assert kong.consumer(ID).custom_id is None


def test_a_custom_id_that_is_not_scims_is_neither_written_nor_compared():
    wanted = consumer(manages_custom_id=False)
    kong = kong_with(wanted)
    kong.consumers[ID]["custom_id"] = "given by an administrator"

    assert plan(wanted, kong.read(ID)) == []
    kong.apply(plan(consumer(manages_custom_id=False, username="bob"), kong.read(ID)))
    assert kong.consumer(ID).custom_id == "given by an administrator"


def test_the_row_of_a_group_has_the_same_id_each_time():
    (_, first), (_, again) = plan(consumer("a"), None), plan(consumer("a"), None)

    assert first == again
    assert first != plan(consumer("b"), None)[1]


# -- deactivation ----------------------------------------------------------


def test_deactivation_closes_three_locks_the_tag_first():
    kong = kong_with(consumer("a"))

    steps = plan(suspended(), kong.read(ID))

    assert kinds(steps) == [("Upsert", "consumers"), "Revoke", ("Delete", "acls")]
    assert "scim:suspended" in steps[0].entity["tags"]


def test_suspend_keeps_the_credentials_and_takes_away_what_was_issued_to_them():
    kong = kong_with(consumer("a"))

    steps = plan(suspended(keeps_credentials=True), kong.read(ID))

    assert kinds(steps) == [("Upsert", "consumers"), "Revoke", ("Delete", "acls")]
    assert steps[1] == Revoke(ID, issued=True)


def test_a_user_created_inactive_gets_a_suspended_consumer():
    kong = kong_with(suspended())

    assert "scim:suspended" in kong.consumer(ID).tags
    assert kinds(plan(suspended(), None)) == [("Upsert", "consumers")]


def test_each_write_of_an_inactive_user_revokes_what_an_administrator_gave_meanwhile():
    kong = kong_with(suspended())
    kong.give_key(ID)

    kong.apply(plan(suspended(), kong.read(ID), written=True))

    assert kong.keys(ID) == 0


def test_a_change_of_its_groups_does_not_walk_the_credentials_of_an_inactive_user():
    kong = kong_with(suspended())

    assert plan(suspended(), kong.read(ID), written=False) == []


def test_a_suspension_somebody_lifted_is_restored_with_all_its_locks_by_any_change():
    kong = kong_with(suspended())
    kong.consumers[ID]["tags"].remove("scim:suspended")
    kong.give_key(ID)

    kong.apply(plan(suspended(), kong.read(ID), written=False))

    assert "scim:suspended" in kong.consumer(ID).tags
    assert kong.keys(ID) == 0


def test_reactivation_lifts_the_tag_and_restores_the_groups_but_no_credential():
    kong = kong_with(consumer("a"))
    kong.give_key(ID)
    kong.apply(plan(suspended(), kong.read(ID)))

    kong.apply(plan(consumer("a"), kong.read(ID)))

    assert "scim:suspended" not in kong.consumer(ID).tags
    assert kong.groups(ID) == {"a"}
    assert kong.keys(ID) == 0


def test_reactivation_takes_away_a_key_that_an_administrator_gave_meanwhile():
    kong = kong_with(suspended())
    kong.give_key(ID)

    kong.apply(plan(consumer("a"), kong.read(ID)))

    assert kong.keys(ID) == 0


def test_it_does_so_where_an_administrator_took_the_tag_away_as_well():
    kong = kong_with(suspended())
    kong.consumers[ID]["tags"].remove("scim:suspended")
    kong.give_key(ID)

    kong.apply(plan(consumer(returning=True), kong.read(ID)))

    assert kong.keys(ID) == 0


def test_the_moment_of_a_revocation_is_a_tag_in_seconds_and_scims_own():
    moment = datetime(2026, 1, 1, 0, 0, 1, 999_999, tzinfo=UTC)
    kong = kong_with(consumer(revoked_at=moment))

    assert "scim-revoked-at:1767225601" in kong.consumer(ID).tags
    kong.apply(plan(consumer(), kong.read(ID)))
    assert set(kong.consumer(ID).tags) == set(consumer().tags)


# -- what is an administrator's --------------------------------------------


def test_foreign_tags_stay():
    kong = kong_with(consumer())
    kong.consumers[ID]["tags"].append("gold-plan")

    kong.apply(plan(suspended(), kong.read(ID)))
    kong.apply(plan(consumer(username="bob"), kong.read(ID)))

    assert set(kong.consumer(ID).tags) == {*consumer().tags, "gold-plan"}


def test_foreign_groups_stay_even_where_scim_wanted_the_same():
    kong = kong_with(consumer())
    kong.give_group(ID, "a")

    kong.apply(plan(consumer("a"), kong.read(ID)))
    kong.apply(plan(consumer(), kong.read(ID)))

    assert kong.groups(ID) == {"a"}


def test_groups_of_another_tenant_stay():
    kong = kong_with(consumer())
    kong.give_group(ID, "a", ["scim", "scim:entra"])

    assert plan(consumer(), kong.read(ID)) == []


# -- deletion --------------------------------------------------------------


def test_a_user_that_is_gone_takes_its_consumer_along():
    kong = kong_with(consumer("a"))
    nobody = Wanted(ID, ID, "okta", present=False)

    assert plan(nobody, kong.read(ID)) == [Delete("consumers", ID)]
    kong.apply(plan(nobody, kong.read(ID)))
    assert (kong.consumers, kong.acls) == ({}, {})


def test_a_consumer_that_is_gone_already_needs_no_step():
    assert plan(Wanted(ID, ID, "okta", present=False), None) == []


# -- whatever was there before ---------------------------------------------

names = st.sampled_from(["a", "b", "c"])
tags = st.sampled_from([*OURS, "scim:suspended", f"scim-user:{ID}", "gold", "eu"])
wanteds = st.builds(
    lambda active, revoke, username, custom_id, manages, groups: consumer(
        *(groups if active else ()),
        username=username,
        custom_id=custom_id if manages else None,
        manages_custom_id=manages,
        suspended=not active,
        keeps_credentials=not revoke,
    ),
    active=st.booleans(),
    revoke=st.booleans(),
    username=names,
    custom_id=st.none() | names,
    manages=st.booleans(),
    groups=st.sets(names),
) | st.just(Wanted(ID, ID, "okta", present=False))


@st.composite
def kongs(draw):
    kong = KongModel()
    if draw(st.booleans()):
        kong.consumers[ID] = {
            "id": ID,
            "username": draw(st.none() | names),
            "custom_id": draw(st.none() | names),
            "tags": draw(st.lists(tags, unique=True)),
        }
        for group, ours in draw(
            st.lists(st.tuples(names, st.booleans()), unique_by=lambda x: x[0])
        ):
            kong.give_group(ID, group, OURS if ours else draw(st.sampled_from([(), ("gold",)])))
        for _ in range(draw(st.integers(0, 2))):
            kong.give_key(ID)
    bystander = kong.add_consumer("bystander", tags=["x"])
    kong.give_group(bystander, "a", OURS)
    kong.give_key(bystander)
    return kong, bystander


@given(kongs(), wanteds)
def test_whatever_was_there_the_steps_end_in_what_is_wanted(there, wanted):
    kong, bystander = there
    before = kong.read(ID)
    other = kong.read(bystander)

    kong.apply(plan(wanted, before))

    after = kong.read(ID)
    assert (after is not None) == wanted.present
    if after is not None:
        foreign = {acl.group for acl in before.acls if OURS[1] not in acl.tags} if before else set()
        assert after.username == wanted.username
        if wanted.manages_custom_id:
            assert after.custom_id == wanted.custom_id
        assert {tag for tag in after.tags if is_reserved(tag)} == set(wanted.tags)
        assert {acl.group for acl in after.acls} == set(wanted.groups) | foreign
    assert kong.read(bystander) == other
    assert kong.keys(bystander) == 1


@given(kongs(), wanteds)
def test_a_second_time_there_is_nothing_left_to_do(there, wanted):
    kong, _ = there
    kong.apply(plan(wanted, kong.read(ID)))

    again = plan(wanted, kong.read(ID))

    assert again == ([Revoke(ID, wanted.keeps_credentials)] if wanted.suspended else [])
    assert plan(wanted, kong.read(ID), written=False) == []


@given(kongs(), wanteds)
def test_nobody_revoked_keeps_a_credential_or_a_group_of_ours(there, wanted):
    kong, _ = there
    before = kong.read(ID)
    keys = kong.keys(ID)

    kong.apply(plan(wanted, before))

    was_suspended = before is not None and "scim:suspended" in before.tags
    if wanted.suspended:
        assert not [acl for acl in kong.consumer(ID).acls if OURS[1] in acl.tags]
    if wanted.present and not wanted.keeps_credentials and (wanted.suspended or was_suspended):
        assert kong.keys(ID) == 0
    elif wanted.present:
        assert kong.keys(ID) == keys


@given(kongs(), wanteds)
def test_what_an_administrator_added_survives(there, wanted):
    kong, _ = there
    before = kong.read(ID)

    kong.apply(plan(wanted, before))

    if before and wanted.present:
        after = kong.consumer(ID)
        assert {tag for tag in before.tags if not is_reserved(tag)} <= set(after.tags)
        assert {acl for acl in before.acls if OURS[1] not in acl.tags} <= set(after.acls)


@given(kongs(), wanteds)
def test_a_consumer_is_there_before_anything_that_refers_to_it(there, wanted):
    kong, _ = there
    steps = plan(wanted, kong.read(ID))

    written = [
        index
        for index, step in enumerate(steps)
        if isinstance(step, Upsert) and step.dao == "consumers"
    ]
    assert written in ([], [0])


def test_a_deleted_user_needs_no_configuration_but_its_tenant():
    from sync_support import config

    id_ = str(uuid4())
    assert gone(config(), id_, None) == Wanted(id_, id_, "okta", present=False)
