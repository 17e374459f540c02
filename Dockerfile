# Two stages: the first installs exactly what requirements.lock names, the second holds that and the program.
FROM python:3.13-slim-trixie AS build
WORKDIR /srv
RUN python -m venv --without-pip /venv
COPY requirements.lock ./
# Wheels only, each with a hash from the lock: nothing is compiled, so no compiler is needed in either stage.
RUN pip --python /venv/bin/python install --no-cache-dir --no-deps --require-hashes --only-binary :all: -r requirements.lock
COPY alembic.ini ./
COPY alembic alembic
COPY app app
# Bytecode now, because the running container cannot write it.
RUN /venv/bin/python -m compileall -q app alembic

FROM python:3.13-slim-trixie
# The account has a name and a home because libraries ask for them; it owns nothing and may write nowhere but in /tmp.
RUN pip uninstall --yes pip \
    && useradd --system --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin gatehouse
COPY --from=build /venv /venv
COPY --from=build /srv /srv
WORKDIR /srv
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8000
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/live', timeout=3)"]
CMD ["python", "-m", "app", "serve"]
