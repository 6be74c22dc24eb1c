"""The administration: a site for people, monitoring and orchestrators."""

from .site import AdminSite, admin_site

__all__ = ["AdminSite", "admin_site"]
