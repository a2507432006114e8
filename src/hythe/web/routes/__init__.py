"""The routes of the pages, one file per kind of page."""
