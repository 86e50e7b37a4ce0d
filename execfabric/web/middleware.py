"""Django middleware that concerns the service, not its pages."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from execfabric import database


class ReleaseConnection(MiddlewareMixin):
    """Gives the connection back when the response is made, not when it is sent.

    Otherwise a client that reads slowly would keep it.
    """

    def process_response(
        self, _request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Release the connection of the request's thread."""
        database.release()
        return response
