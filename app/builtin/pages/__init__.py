"""Pages for people: signing in and out with a cookie, and the list of what there is to see."""
