"""Engine, which decides which worker renders which scene and when a worker is started.

It does not import an AWS library, an HTTP library or `subprocess`: it reaches backends through
`cloudburst.ports`. It has five parts.

**Runs and attempts** (``open_run``, ``run``, ``run_progress``, ``attempt``, ``attempt_context``,
``scene_record``, ``worker_record``, ``report``, ``cost_breakdown``, ``film_step``,
``worker_film``). A run has one anyio task for each scene that has a worker. This task makes
attempts, each with an upload, an encode and a download, until one succeeds or a further attempt
cannot help. A film that a worker makes has such attempts, too. The report is built from the records
of scenes and workers.

**Pool and scheduler** (``pool``, ``pool_state``, ``encoder_slots``, ``scheduler``). Scenes wait in
one queue. The scheduler assigns them to workers, starts workers that are worth their price, moves
waiting scenes to workers that become free, and has slow scenes encoded a second time. It decides
without awaiting, so that no decision races another.

**Supervisors** (``supervisor``, ``launch``, ``worker``). A supervisor owns one worker: it launches
the task, connects to the worker, watches and stops the task, also after errors, and waits until its
bill is final.

**Forecast** (``forecast``). Pure functions for the scheduler and for ``cloudburst plan`` compute
how long scenes take on workers, the makespan of a run, and how many workers are worth their price.

**Journal and recovery** (``journal_writer``, ``recovered_state``, ``recovery``,
``post_mortem_writer``). The journal records what happens to scenes and workers. A process that
resumes a run restores the run's records from the journal, and uses or stops the tasks that earlier
processes left running.

::

    Client.stream
        |
    open_run ---------> attempt.render_scene -----> journal_writer
        |                   |         |
        |          pool.lease         renderer.upload, encode, download
        |                   |
    recovery ---> scheduler.decide ---> forecast
                            |
                    supervisor.run ---> launch.launched, worker.connected
                            |
                    ports.Backend: Fargate, this machine, endpoints
"""
