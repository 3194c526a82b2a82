// SPDX-License-Identifier: Apache-2.0
// Every text of the pages. Another language is another file of this shape. {name} is filled in.

export const en = {
  language: "English",
  appName: "HiveMind Worker",
  skip: "Skip to the content",
  nav_dashboard: "Dashboard", nav_tasks: "Tasks", nav_monitor: "Monitor", nav_logs: "Logs", nav_settings: "Settings",
  menu: "Pages", theme: "Theme", theme_auto: "Like the system", theme_light: "Light", theme_dark: "Dark", chooseLanguage: "Language",
  logout: "Log out", loggedInAs: "{user}, {role}", openNode: "development mode: no login",
  offline: "The node does not answer. Trying again…", online: "Connected again.", loading: "Loading…", retryNow: "Try now",
  failed: "That did not work: {why}", noAnswer: "the node does not answer", close: "Close", cancel: "Cancel", copy: "Copy", copied: "Copied",
  notFoundTitle: "There is no such page", notFoundText: "The address leads nowhere on this node.", toDashboard: "To the dashboard",

  login_title: "Log in", login_user: "User", login_password: "Password", login_button: "Log in", login_working: "Checking…",
  login_wrong: "User and password do not fit together.", login_expired: "The session is over. Please log in again.",
  login_wait: "Too many attempts. Try again in {seconds} s.",
  login_hint: "Accounts are made on the node: sudo hivemind user add NAME, then hivemind user passwd NAME.",

  state_QUEUED: "Waits", state_ALLOCATED: "Starts", state_PREPARING: "Starts", state_RUNNING: "Runs", state_COMPLETED: "Completed",
  state_FAILED: "Failed", state_STOPPED: "Stopped", state_paused: "Paused", state_stopping: "Is being stopped",

  dash_serving: "Takes tasks", dash_draining: "Takes no more tasks: it is ending", dash_since: "Version {version}, running for {time}",
  dash_running: "Running", dash_queued: "Waiting", dash_success: "Success rate", dash_success_hint: "{completed} completed, {failed} failed",
  dash_none_yet: "no task has ended yet", dash_of: "of {n}", dash_trust: "Trust", dash_trust_none: "not rated yet", dash_per_minute: "Tasks per minute",
  dash_cpu: "Processors", dash_memory: "Memory", dash_network: "Network", dash_disk: "Disk", dash_gpu: "GPU", dash_no_gpu: "no GPU on this machine",
  dash_free: "{free} of {total} free", dash_recent: "Latest tasks", dash_all: "All tasks",
  dash_sample: "Run a sample task", dash_sample_working: "Running…",
  dash_empty_title: "No task yet", dash_empty_text: "Run a sample task to see the node at work, or hand one in by the command line: hivemind run hello.py",
  dash_warnings: "The node says", dash_received: "received", dash_sent: "sent",

  tasks_title: "Tasks", tasks_new: "New task", tasks_active: "Running", tasks_waiting: "Waiting", tasks_history: "Ended", tasks_all: "All",
  tasks_type: "Type", tasks_label: "Label", tasks_label_hint: "key=value", tasks_state: "State", tasks_owner: "Owner", tasks_id: "Task", tasks_when: "When",
  tasks_time: "Time", tasks_actions: "Actions", tasks_none: "No tasks here.", tasks_none_filtered: "No task fits what was asked for.", tasks_more: "Older tasks",
  tasks_goto: "Go to task by id", tasks_go: "Go", tasks_any: "any", tasks_filter: "Filter",
  act_stop: "Stop", act_pause: "Pause", act_resume: "Go on", act_retry: "Run again", act_stop_sure: "Stop task {id}? What it has done so far is lost.",
  why_paused: "paused", why_after: "waits for other tasks", why_later: "starts {when}", why_busy: "waits for its turn",

  submit_title: "New task", submit_type: "Kind", submit_python: "Python", submit_shell: "Shell script", submit_package: "Package (zip, tar.gz, tar.zst)",
  submit_source: "Source", submit_file: "Or take a file", submit_choose: "Choose a file", submit_options: "Options", submit_id: "Task id", submit_id_hint: "empty: the node makes one",
  submit_timeout: "Time-out in seconds", submit_memory: "Memory in MiB", submit_cpu: "Processors", submit_priority: "Priority", submit_retries: "Retries",
  submit_args: "Arguments, one a line", submit_env: "Environment, NAME=VALUE a line", submit_network: "Network", submit_labels: "Labels, key=value a line",
  submit_default: "the node's default", submit_button: "Hand in", submit_working: "Handing in…", submit_too_large: "Files up to 11 MiB can be handed in here; larger ones by the command line.",
  submit_no_source: "There is nothing to run yet.", submit_bad_line: "\"{line}\" is not of the form NAME=VALUE.",
  net_NETWORK_DEFAULT: "the node's default", net_NETWORK_NONE: "none", net_NETWORK_LOOPBACK: "its own loopback", net_NETWORK_HOST: "the machine's",

  task_log: "Output", task_result: "Result", task_details: "Details", task_receipt: "Receipt", task_attempts: "Attempts", task_files: "Files", task_usage: "Usage",
  task_created: "Handed in", task_started: "Started", task_finished: "Ended", task_wall: "Wall clock", task_cpu: "Processor time", task_memory: "Most memory",
  task_io: "Read and written", task_processes: "Processes", task_runtime: "Runtime", task_layers: "Isolated by", task_missing: "Not there on this machine",
  task_denied: "Refused system calls", task_network: "Network", task_exit: "Exit code", task_signal: "Signal", task_retry_of: "Repeats", task_labels: "Labels", task_owner: "Owner",
  task_none: "none", task_no_log: "Nothing was printed.", task_no_log_yet: "Nothing printed yet.", task_log_truncated: "Not all of it was kept: the limit of the log was reached.",
  task_download_log: "Download output", task_download_result: "Download result", task_no_result: "No result.", task_result_later: "The result comes when the task has ended.",
  task_result_large: "The result has {size}: download it to see it.", task_search: "Search in the output", task_matches: "{n} lines", task_follow: "Follow the end",
  task_log_more: "There is more: scroll, or", task_log_load: "load more", task_log_dropped: "The beginning is not shown any more; the download has all of it.",
  task_gone: "There is no task of this id, or it is not yours.", task_attempt_n: "Attempt {n}", task_last_attempt: "This was its only attempt.", task_no_files: "It left no files.",
  task_traceback: "What the task says of its failure", stream_both: "both streams", stream_stdout: "standard output", stream_stderr: "standard error",

  mon_title: "Monitor", mon_range: "Range", mon_15m: "15 minutes", mon_6h: "6 hours", mon_24h: "24 hours", mon_7d: "7 days", mon_30d: "30 days",
  mon_cpu: "Processors", mon_cores: "Each processor", mon_load: "Load average", mon_memory: "Memory", mon_swap: "Swap", mon_disk: "Disk", mon_disk_io: "Disk traffic",
  mon_network: "Network", mon_interfaces: "Network interfaces", mon_pressure: "Pressure: share of time in which programs waited", mon_temperature: "Temperature", mon_tasks: "Tasks",
  mon_no_data: "Nothing was measured in this time.", mon_not_here: "This machine does not tell.", mon_docker: "Docker", mon_vpn: "VPN", mon_off: "switched off",

  logs_title: "The node's log", logs_level: "Level", logs_error: "errors", logs_warning: "and warnings", logs_info: "and information", logs_debug: "everything",
  logs_none: "No line of this level.", logs_live: "Live", logs_search: "Search", logs_denied: "The log names everybody's tasks: it is for operators.",

  set_title: "Settings", set_password: "Change the password", set_old: "Old password", set_new: "New password", set_new_hint: "10 characters at least", set_save: "Save", set_saved: "The password is changed.",
  set_sessions: "Sessions and tokens", set_name: "Name", set_role: "Role", set_made: "Made", set_expires: "Ends", set_used: "Last used", set_never: "never", set_revoke: "Revoke",
  set_revoke_sure: "Revoke {name}? Whoever uses it is locked out at once.", set_revoked: "revoked", set_new_token: "New token", set_token_name: "Name of the token", set_token_days: "Days it is good for",
  set_token_once: "This is the token. It is shown this once:", set_make: "Make", set_users: "Users", set_add_user: "Add a user", set_disabled: "disabled", set_disable: "Disable", set_enable: "Enable",
  set_remove: "Remove", set_remove_sure: "Remove {name} with all tokens? The name is never given again.", set_node: "Node", set_storage: "Storage", set_files: "{n} files, {size} of {max}",
  set_open: "This node runs in development mode: it has no accounts.", set_config: "The effective configuration with its origins: hivemind-worker --show-config. What a doctor would find: hivemind doctor.",
  set_warnings: "What the node cannot do", set_no_warnings: "Nothing to complain about.", set_has_password: "has a password", set_audit: "Latest acts (audit log)", set_what: "What", set_who: "Who", set_from: "From", set_outcome: "Outcome",
  unit_d: "d", unit_h: "h", unit_m: "min", unit_s: "s", unit_ms: "ms", ago: "{time} ago", now: "now", in: "in {time}",
};

export type Texts = Record<keyof typeof en, string>;
