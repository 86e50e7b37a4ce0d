"""Pages with the product documentation, for every signed-in user."""

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from execfabric.help import documents
from execfabric.web.http import HttpRequest, page


@require_safe
def help_page(request: HttpRequest, slug: str = documents.INDEX) -> HttpResponse:
    """Show a document, or the list of all."""
    return page(request, "help/page.html", {"document": documents.document(slug)})


@require_safe
def help_image(_request: HttpRequest, name: str) -> HttpResponse:
    if name not in documents.images():
        raise documents.DocumentUnknown(name=name)
    picture = (documents.FOLDER / "images" / name).read_bytes()
    return HttpResponse(picture, content_type="image/png")
