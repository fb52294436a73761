# The render service. PyAV, which contains FFmpeg's libraries, and the Chinese font are wheels, so that
# one list, pyproject's, says what is in here; no package of the system is added. Every wheel is pinned
# by its hash in src/cloudburst/image/requirements.lock and docker/build.lock, which `nox -s lock` makes
# of pyproject.
#
# `cloudburst image build` makes the same image without Docker, from the same lists.
#
#   docker build -t cloudburst .         the base image by its tag
#   sh docker/build.sh -t cloudburst     the base image by the digest in docker/base.lock
#   docker run -p 5000:5000 -e AUTHENTICATION_KEY=… cloudburst

# The standing server, which renders on the machine of its container or starts tasks, is another target:
#
#   docker build -t cloudburst-serve --target serve .
#   docker run -p 8080:8080 -v cloudburst:/data -e CLOUDBURST_SERVE_KEYS=… cloudburst-serve

ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python -m venv /opt/cloudburst && python -m venv tools
COPY src/cloudburst/image/requirements.lock docker/build.lock locks/
RUN /opt/cloudburst/bin/pip install --require-hashes --only-binary :all: -r locks/requirements.lock \
    && tools/bin/pip install --require-hashes --only-binary :all: -r locks/build.lock
COPY pyproject.toml hatch_build.py LICENSE README.md ./
COPY docker docker
COPY examples examples
COPY src src
# The base has no C compiler: the pixel kernel is compiled by ziglang, which is in docker/build.lock.
RUN tools/bin/pip wheel --no-deps --no-build-isolation -w dist . \
    && /opt/cloudburst/bin/pip install --no-deps dist/*.whl \
    && /opt/cloudburst/bin/python -P src/cloudburst/image/trim.py /opt/cloudburst \
    && /opt/cloudburst/bin/python docker/check_render.py

FROM build AS serve-build
RUN python -m venv /opt/serve \
    && /opt/serve/bin/pip install --require-hashes --only-binary :all: -r docker/serve.lock \
    && /opt/serve/bin/pip install --no-deps dist/*.whl

FROM ${PYTHON} AS serve
COPY --from=serve-build /opt/serve /opt/serve
RUN useradd --uid 10001 --home-dir /data --create-home --shell /usr/sbin/nologin cloudburst
ENV PATH=/opt/serve/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
VOLUME /data
USER 10001:10001
WORKDIR /data
EXPOSE 8080
ENTRYPOINT ["cloudburst", "serve", "--host", "0.0.0.0"]

FROM ${PYTHON}
LABEL org.opencontainers.image.licenses="MIT AND GPL-3.0-or-later AND OFL-1.1"
COPY --from=build /opt/cloudburst /opt/cloudburst
COPY LICENSE src/cloudburst/image/licenses /usr/share/licenses/cloudburst/
# The service starts no program that changes its user, so none may be able to. The base's standard
# library has no bytecode, and the root of a task is read-only.
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin cloudburst \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && python -m compileall -q --invalidation-mode unchecked-hash \
    -x '/(dist-packages|ensurepip|idlelib|pydoc_data|site-packages|test|tkinter|turtledemo|venv)/' \
    "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
ENV PATH=/opt/cloudburst/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# The service writes here only. On Fargate, a volume that is mounted here takes its owner and mode from
# this declaration; without it, the volume is root's.
VOLUME /tmp
USER 10001:10001
WORKDIR /tmp
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
    CMD ["python", "-m", "cloudburst.service.health"]
ENTRYPOINT ["python", "-m", "cloudburst.service"]
