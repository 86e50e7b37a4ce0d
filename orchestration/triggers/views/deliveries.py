"""The address to which other systems send signed requests: no session, no CSRF token."""

import logging
from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import (
    HttpRequest,
    HttpResponse,
    JsonResponse,
    RawPostDataException,
    UnreadablePostError,
)
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from execfabric.identity.http import page
from execfabric.lib import clock
from execfabric.lib.refusal import Refusal
from execfabric.web.problems import RequestTooLarge, database_failure, problem
from orchestration.triggers.errors import PayloadInvalid
from orchestration.triggers.services.deliveries import deliver as take

SHOWN = {"retry_after"}
"""Details of a refusal that the other system gets; others may name parts of the plan."""

log = logging.getLogger(__name__)


@csrf_exempt
@login_not_required
@require_POST
def deliver(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Propose the run of a signed request (202), or refuse it as a problem."""
    try:
        body = _body(request)
        headers = {name.lower(): value for name, value in request.headers.items()}
        run = take(hook_id=pk, headers=headers, body=body, at=clock.now())
    except Refusal as refusal:
        details = refusal.details
        refusal.details = {key: details[key] for key in SHOWN & details.keys()}
        return problem(refusal)
    except (OperationalError, InterfaceError) as error:
        log.error("%s %s: %s", request.method, request.path, error)  # noqa: TRY400
        return problem(database_failure(error))
    address = page(request, "run", run.pk)
    answer = {"run_id": str(run.pk), "state": run.state, "url": address}
    return JsonResponse(answer, status=202)


def _body(request: HttpRequest) -> bytes:
    """Return the body.

    :raises RequestTooLarge: when it is too large
    :raises PayloadInvalid: when it cannot be read, or was sent as a form with files
    """
    try:
        body = request.body
    except RequestDataTooBig:
        raise RequestTooLarge(settings.LARGEST_HOOK_BODY) from None
    except (RawPostDataException, UnreadablePostError):
        raise PayloadInvalid("Send the body as JSON, not as a form.") from None
    if len(body) > settings.LARGEST_HOOK_BODY:
        raise RequestTooLarge(settings.LARGEST_HOOK_BODY)
    return body
