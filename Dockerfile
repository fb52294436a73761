# The render service. ffmpeg and the Chinese font come as wheels, so that one list, pyproject's,
# says what is in here; no package of the system is added.
#
#   docker build -t cloudburst .
#   docker run -p 5000:5000 -e AUTHENTICATION_KEY=… cloudburst

ARG PYTHON=python:3.13-slim

FROM ${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python -m venv /opt/cloudburst
COPY pyproject.toml ./
COPY docker docker
RUN python docker/requirements.py > requirements.txt \
    && /opt/cloudburst/bin/pip install --only-binary :all: -r requirements.txt
COPY LICENSE README.md ./
COPY examples examples
COPY src src
RUN /opt/cloudburst/bin/pip wheel --no-deps -w dist . \
    && /opt/cloudburst/bin/pip install --no-deps dist/*.whl \
    && sh docker/trim.sh /opt/cloudburst

FROM ${PYTHON}
COPY --from=build /opt/cloudburst /opt/cloudburst
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin cloudburst
ENV PATH=/opt/cloudburst/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER cloudburst
WORKDIR /tmp
EXPOSE 5000
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s \
    CMD ["python", "-m", "cloudburst.service.health"]
ENTRYPOINT ["python", "-m", "cloudburst.service"]
