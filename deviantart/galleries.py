"""An artist's gallery: what is in it, and its folders (deviantart-api.md, section 8)."""

from collections.abc import Iterator, Sequence

from deviantart import types
from deviantart.calls import Calls, Fields, boolean, pages, segment
from deviantart.errors import Call
from deviantart.types import Deviation, Folder, Page

GALLERY_PAGE_MAX = 24
FOLDER_PAGE_MAX = 50


class Galleries(Calls):
    """Reading galleries, and arranging one's own.

    Each call that arranges something is harmless to repeat when its answer was lost, but for *create*, which makes
    another folder of the same name. Folders that are not the artist's own are answered with success, and nothing
    happens (section 8).
    """

    def gallery_all(
        self,
        *,
        username: str | None = None,
        offset: int = 0,
        cursor: str | None = None,
        limit: int = GALLERY_PAGE_MAX,
        mature_content: bool = True,
    ) -> Page[Deviation]:
        """One page of everything in a gallery, newest first; the artist's own without ``username``."""
        return self._deviations(
            "gallery/all",
            params=_whose(username),
            offset=offset,
            cursor=cursor,
            limit=limit,
            most=GALLERY_PAGE_MAX,
            mature_content=mature_content,
        )

    def gallery_pages(
        self, *, username: str | None = None, limit: int = GALLERY_PAGE_MAX, mature_content: bool = True
    ) -> Iterator[Page[Deviation]]:
        """The pages of a gallery, newest first, each fetched when it is asked for."""
        return pages(self.gallery_all, username=username, limit=limit, mature_content=mature_content)

    def gallery_folder(
        self,
        folder_id: str,
        *,
        username: str | None = None,
        offset: int = 0,
        cursor: str | None = None,
        limit: int = GALLERY_PAGE_MAX,
        mature_content: bool = True,
    ) -> Page[Deviation]:
        """One page of what is in a folder, in its owner's order; ``name`` of the page is the folder's."""
        return self._deviations(
            f"gallery/{segment(folder_id)}",
            params=_whose(username),
            offset=offset,
            cursor=cursor,
            limit=limit,
            most=GALLERY_PAGE_MAX,
            mature_content=mature_content,
        )

    def gallery_folders(
        self,
        *,
        username: str | None = None,
        offset: int = 0,
        cursor: str | None = None,
        limit: int = FOLDER_PAGE_MAX,
        calculate_size: bool = False,
        mature_content: bool = True,
    ) -> Page[Folder]:
        """One page of gallery folders, two levels deep; the artist's own without ``username``."""
        return self._page(
            "gallery/folders",
            types.folder,
            params=[
                ("calculate_size", boolean(calculate_size)),
                ("mature_content", boolean(mature_content)),
                *_whose(username),
            ],
            offset=offset,
            cursor=cursor,
            limit=limit,
            most=FOLDER_PAGE_MAX,
        )

    def gallery_folder_pages(
        self, *, username: str | None = None, limit: int = FOLDER_PAGE_MAX, calculate_size: bool = False
    ) -> Iterator[Page[Folder]]:
        """The pages of gallery folders, each fetched when it is asked for."""
        return pages(self.gallery_folders, username=username, limit=limit, calculate_size=calculate_size)

    def create_folder(self, name: str, *, description: str = "", parent_id: str | None = None) -> Folder:
        """Make a folder, or in ``parent_id`` a subfolder; there are two levels."""
        data = [("folder", name)]
        if description:
            data.append(("description", description))
        if parent_id is not None:
            data.append(("parent_folderid", parent_id))
        return self._post(
            Call.ARRANGE, "gallery/folders/create", read=lambda payload, _: types.folder(payload), data=data
        )

    def update_folder(
        self,
        folder_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        cover_deviation_id: str | None = None,
    ) -> None:
        """Change what is not None."""
        wanted = {"name": name, "description": description, "cover_deviationid": cover_deviation_id}
        named = [(field, value) for field, value in wanted.items() if value is not None]
        self._arrange("update", [("folderid", folder_id), *named])

    def order_folder(self, folder_id: str, position: int) -> None:
        """Put a folder at a place among those beside it, counted from 0."""
        self._arrange("update_order", [("folderid", folder_id), ("position", str(position))])

    def move_folder(self, folder_id: str, to_folder_id: str) -> None:
        """Make a folder a subfolder of another."""
        self._arrange("move", [("folderid", folder_id), ("to_folderid", to_folder_id)])

    def remove_folder(self, folder_id: str) -> None:
        """Remove a folder; the works in it stay in the gallery."""
        self._arrange(f"remove/{segment(folder_id)}", [])

    def order_deviation(self, folder_id: str, deviation_id: str, position: int) -> None:
        """Put a work at a place in a folder, counted from 0."""
        data = [("folderid", folder_id), ("deviationid", deviation_id), ("position", str(position))]
        self._arrange("update_deviation_order", data)

    def copy_deviations(self, deviation_ids: Sequence[str], *, to_folder_id: str) -> None:
        """Put works into a folder as well."""
        self._arrange("copy_deviations", [("target_folderid", to_folder_id), *_works(deviation_ids)])

    def move_deviations(self, deviation_ids: Sequence[str], *, from_folder_id: str, to_folder_id: str) -> None:
        """Take works out of one folder and put them into another."""
        data = [("source_folderid", from_folder_id), ("target_folderid", to_folder_id), *_works(deviation_ids)]
        self._arrange("move_deviations", data)

    def remove_deviations(self, deviation_ids: Sequence[str], *, from_folder_id: str) -> None:
        """Take works out of a folder; they stay in the gallery."""
        self._arrange("remove_deviations", [("folderid", from_folder_id), *_works(deviation_ids)])

    def _arrange(self, what: str, data: Fields) -> None:
        self._post(Call.ARRANGE, f"gallery/folders/{what}", read=types.success, data=data)


def _whose(username: str | None) -> Fields:
    return [] if username is None else [("username", username)]


def _works(deviation_ids: Sequence[str]) -> Fields:
    if not deviation_ids:
        raise ValueError("At least one work has to be named.")
    return [("deviationids[]", each) for each in deviation_ids]
