"""What works have to say before their account is disconnected."""

from django.db.models import Q

from accounts.errors import AccountBusy
from accounts.models import DeviantArtAccount, User
from accounts.services.connecting import before_disconnect
from deviations.models import Deviation


@before_disconnect
def refuse_while_on_its_way(account: DeviantArtAccount, _user: User) -> None:
    """Let nobody take the login away that a work needs to arrive, or to be looked for. Raises AccountBusy."""
    on_its_way = Q(lease_id__isnull=False) | Q(status__in=[Deviation.Status.UPLOADING, Deviation.Status.PUBLISHING])
    if Deviation.objects.filter(on_its_way, account=account).exists():
        raise AccountBusy
