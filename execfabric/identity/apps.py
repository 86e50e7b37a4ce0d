from django.apps import AppConfig


class IdentityConfig(AppConfig):
    name = "execfabric.identity"
    label = "accounts"
    default_auto_field = "django.db.models.BigAutoField"
