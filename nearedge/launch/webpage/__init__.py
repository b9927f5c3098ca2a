"""FireWorks' web page, mended, and pages of our own about projects: one server on loopback.

`lifecycle` starts and ends it; `server` is its process; `site` puts it together from FireWorks' own
application (`mending`), what is refused before that is asked (`guard`), and our pages (`projects`).
"""
