"""Import an image: copy what a reference names into the host's image folder, as an image of the project.

The disk is copied, not the file: whatever its format was, the image is raw or a compressed qcow2 of ours.
"""

from dataclasses import dataclass

from nbdsvc import errors, journaled_copy
from nbdsvc.app import App
from nbdsvc.host import host_of
from nbdsvc.images.image_store import check_limits
from nbdsvc.images.index import Image
from nbdsvc.images.resolve import OpenImage
from nbdsvc.model import names
from nbdsvc.model.context import ADMIN, Context
from nbdsvc.operations.operation_type import OperationType, Run, Step, always
from nbdsvc.store import secrets
from nbdsvc.volumes.create import without_credentials
from nbdsvc.volumes.upload import write_image


@dataclass(frozen=True)
class ImportImageRequest:
    """The image to make. reference: as imageRef of a new volume: an id, a name, a path that is allowed, or a URL."""

    reference: str
    name: str
    disk_format: str = "raw"
    """raw or qcow2."""
    visibility: str = "private"
    """public: by an administrator only."""
    protected: bool = False


@dataclass(frozen=True)
class ImportImageArgs:
    """Arguments of the operation `image.import`."""

    image_id: str
    reference: str
    """Without credentials, which are kept apart until the operation ends."""
    image_name: str
    disk_format: str
    visibility: str
    protected: bool
    limits: tuple[int, int]
    """How many images the project may have, and how many bytes in them; -1: any."""


def import_image(app: App, context: Context, request: ImportImageRequest) -> str:
    """Start importing an image; returns its id, by which its operation is found. It is in lists when it is whole.

    Raises InvalidInput (reference), NotFound (image), Forbidden (public), QuotaExceeded, and Unsupported where another
    process keeps the images.
    """
    if app.images is None:
        raise errors.Unsupported(reason="images are kept by the process of the storage host (nbdsvc host or serve)")
    if request.visibility == "public" and not context.is_admin:
        raise errors.Forbidden(reason="Only an administrator may make a public image.")
    reference = app.images.resolve(request.reference, context)
    limits = (app.settings.quota_images, app.settings.quota_image_bytes)
    check_limits(limits, app.images.folder.usage(context.project_id), 0)
    args = ImportImageArgs(
        names.new_id(),
        without_credentials(reference),
        request.name,
        request.disk_format,
        request.visibility,
        request.protected,
        limits,
    )
    backend = names.join_host(app.settings.host, next(iter(app.settings.served_backends)))
    with app.change() as conn:
        made = app.submit(conn, context, IMPORT_IMAGE, args, backend=backend, resource=("image", args.image_id))
        if reference != args.reference:
            secrets.keep(conn, made.id, reference)
    return args.image_id


def _write_image(run: Run[ImportImageArgs]) -> None:
    host, args = host_of(run), run.args
    with host.database.read() as conn:
        reference = secrets.of(conn, run.id) or args.reference
    # The API has checked that the project may use it, and has put the image's id in place of its name.
    context = Context(run.operation.project_id, run.operation.user_id, frozenset({ADMIN}), run.operation.request_id)

    def open_image() -> OpenImage:
        return host.images.open(reference, context, should_stop=run.should_stop)

    with (
        journaled_copy.open_interruptibly(run, open_image, lambda late: late.source.close()) as image,
        image.source,
        journaled_copy.abort_reads_on_stop(run, image.source),
        image.check,
    ):
        made = Image(
            id=args.image_id,
            name=args.image_name,
            disk_format=args.disk_format,
            virtual_size=image.source.size,
            owner=run.id,
            project_id=run.operation.project_id,
            visibility=args.visibility,
            protected=args.protected,
        )
        write_image(run, image.source, made, args.limits)
        image.check.finish(run.should_stop)
        run.raise_if_stopped()
    host.images.folder.commit(made)


def _undo_write_image(run: Run[ImportImageArgs]) -> None:
    host_of(run).images.folder.remove(run.args.image_id, run.id)
    journaled_copy.remove_journal(run)


IMPORT_IMAGE = OperationType(
    "image.import",
    ImportImageArgs,
    (
        Step("write image", _write_image, _undo_write_image, copies=always),
        Step("tidy", journaled_copy.remove_journal),
    ),
    modifies=False,
    adds=True,
)
