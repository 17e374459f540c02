"""Users, and how they prove who they are: password sign-in, access tokens, the caller's own profile."""
