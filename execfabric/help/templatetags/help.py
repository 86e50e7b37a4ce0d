"""Links from a term on a page to its entry in the glossary."""

from django import template
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag
def help_link(anchor: str) -> SafeString:
    """Return a "?" that leads to a heading of the glossary."""
    return format_html(
        '<a class="help-link" href="{}#{}" title="{label}" aria-label="{label}">?</a>',
        reverse("help_page", args=["glossary"]),
        anchor,
        label=f"Help: {anchor.replace('-', ' ')}",
    )
