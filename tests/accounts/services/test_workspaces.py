"""What the owners of a workspace want for all of it."""

import pytest

from accounts.errors import OwnersOnly
from accounts.models import AuditEvent, Membership, User, Workspace
from accounts.services.workspaces import set_drafts_are_ready
from tests.factories import UserFactory, workspace_of


@pytest.fixture
def owner(db: None) -> User:
    return UserFactory()


@pytest.fixture
def workspace(owner: User) -> Workspace:
    return workspace_of(owner)


def wish_of(workspace: Workspace) -> bool:
    return Workspace.objects.get(pk=workspace.pk).drafts_are_ready


def test_an_owner_has_new_drafts_be_ready_at_once_or_no_more(owner: User, workspace: Workspace) -> None:
    for wish in (True, False):
        set_drafts_are_ready(workspace, user=owner, ready=wish)
        assert (wish_of(workspace), workspace.drafts_are_ready) == (wish, wish)
    assert list(AuditEvent.objects.order_by("id").values_list("verb", "workspace_id", "user_id")) == [
        ("workspace.drafts_ready_at_once", workspace.pk, owner.pk),
        ("workspace.drafts_ready_by_hand", workspace.pk, owner.pk),
    ]


def test_saying_it_twice_is_told_of_once(owner: User, workspace: Workspace) -> None:
    for _twice in range(2):
        set_drafts_are_ready(workspace, user=owner, ready=True)
    assert wish_of(workspace)
    assert AuditEvent.objects.count() == 1


def test_neither_a_member_nor_a_stranger_says_it(workspace: Workspace) -> None:
    member, stranger = UserFactory(), UserFactory()
    Membership.objects.create(user=member, workspace=workspace, role=Membership.Role.MEMBER)
    for user in (member, stranger):
        with pytest.raises(OwnersOnly):
            set_drafts_are_ready(workspace, user=user, ready=True)
    assert not wish_of(workspace)
    assert not AuditEvent.objects.exists()
