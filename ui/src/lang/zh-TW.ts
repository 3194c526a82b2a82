// SPDX-License-Identifier: Apache-2.0
import type { Texts } from "./en";

export const zhTW: Texts = {
  language: "繁體中文",
  appName: "HiveMind Worker",
  skip: "跳至內容",
  nav_dashboard: "儀表板", nav_tasks: "任務", nav_monitor: "監控", nav_logs: "日誌", nav_settings: "設定",
  menu: "頁面", theme: "佈景", theme_auto: "跟隨系統", theme_light: "淺色", theme_dark: "深色", chooseLanguage: "語言",
  logout: "登出", loggedInAs: "{user}，{role}", openNode: "開發模式：不需登入",
  offline: "節點沒有回應，正在重試……", online: "已重新連線。", loading: "載入中……", retryNow: "立即重試",
  failed: "操作失敗：{why}", noAnswer: "節點沒有回應", close: "關閉", cancel: "取消", copy: "複製", copied: "已複製",
  notFoundTitle: "沒有這個頁面", notFoundText: "此節點上沒有這個位址。", toDashboard: "前往儀表板",

  login_title: "登入", login_user: "使用者", login_password: "密碼", login_button: "登入", login_working: "驗證中……",
  login_wrong: "使用者名稱或密碼不正確。", login_expired: "工作階段已結束，請重新登入。",
  login_wait: "嘗試次數過多，請在 {seconds} 秒後再試。",
  login_hint: "帳號在節點上建立：sudo hivemind user add 名稱，接著 hivemind user passwd 名稱。",

  state_QUEUED: "等待中", state_ALLOCATED: "啟動中", state_PREPARING: "啟動中", state_RUNNING: "執行中", state_COMPLETED: "已完成",
  state_FAILED: "失敗", state_STOPPED: "已停止", state_paused: "已暫停", state_stopping: "停止中",

  dash_serving: "接受任務", dash_draining: "即將結束，不再接受任務", dash_since: "版本 {version}，已執行 {time}",
  dash_running: "執行中", dash_queued: "等待中", dash_success: "成功率", dash_success_hint: "啟動以來完成 {completed}，失敗 {failed}",
  dash_none_yet: "尚無任務結束", dash_of: "共 {n}", dash_trust: "信任分數", dash_trust_none: "尚未評分", dash_per_minute: "每分鐘任務數",
  dash_cpu: "處理器", dash_memory: "記憶體", dash_network: "網路", dash_disk: "磁碟", dash_gpu: "GPU", dash_no_gpu: "這台機器沒有 GPU",
  dash_free: "可用 {free}，共 {total}", dash_recent: "最近的任務", dash_all: "所有任務",
  dash_sample: "執行範例任務", dash_sample_working: "執行中……",
  dash_empty_title: "還沒有任務", dash_empty_text: "執行範例任務看看節點如何運作，或用命令列送出：hivemind run hello.py",
  dash_warnings: "節點訊息", dash_received: "接收", dash_sent: "傳送",

  tasks_title: "任務", tasks_new: "新任務", tasks_active: "執行中", tasks_waiting: "等待中", tasks_history: "已結束", tasks_all: "全部",
  tasks_type: "類型", tasks_label: "標籤", tasks_label_hint: "鍵=值", tasks_state: "狀態", tasks_owner: "擁有者", tasks_id: "任務", tasks_when: "時間點",
  tasks_time: "時間", tasks_actions: "操作", tasks_none: "這裡沒有任務。", tasks_none_filtered: "沒有符合條件的任務。", tasks_more: "較早的任務",
  tasks_goto: "以編號前往任務", tasks_go: "前往", tasks_any: "不限", tasks_filter: "篩選",
  act_stop: "停止", act_pause: "暫停", act_resume: "繼續", act_retry: "重新執行", act_stop_sure: "要停止任務 {id} 嗎？已完成的部分將會遺失。",
  why_paused: "已暫停", why_after: "等待其他任務", why_later: "{when}開始", why_busy: "等待輪到它",

  submit_title: "新任務", submit_type: "種類", submit_python: "Python", submit_shell: "Shell 指令稿", submit_package: "套件（zip、tar.gz、tar.zst）",
  submit_source: "原始碼", submit_file: "或選擇檔案", submit_choose: "選擇檔案", submit_options: "選項", submit_id: "任務編號", submit_id_hint: "留空則由節點產生",
  submit_timeout: "逾時（秒）", submit_memory: "記憶體（MiB）", submit_cpu: "處理器", submit_priority: "優先順序", submit_retries: "重試次數",
  submit_args: "參數，每行一個", submit_env: "環境變數，每行 NAME=VALUE", submit_network: "網路", submit_labels: "標籤，每行 鍵=值",
  submit_default: "節點預設值", submit_button: "送出", submit_working: "送出中……", submit_too_large: "這裡可送出 11 MiB 以內的檔案；更大的請用命令列。",
  submit_no_source: "還沒有可執行的內容。", submit_bad_line: "「{line}」不是 NAME=VALUE 的格式。",
  net_NETWORK_DEFAULT: "節點預設值", net_NETWORK_NONE: "無", net_NETWORK_LOOPBACK: "自己的 loopback", net_NETWORK_HOST: "主機的網路",

  task_log: "輸出", task_result: "結果", task_details: "詳細資料", task_receipt: "收據", task_attempts: "嘗試", task_files: "檔案", task_usage: "用量",
  task_created: "送出", task_started: "開始", task_finished: "結束", task_wall: "實際時間", task_cpu: "處理器時間", task_memory: "記憶體最高用量",
  task_io: "讀取與寫入", task_processes: "程序數", task_runtime: "執行環境", task_layers: "隔離方式", task_missing: "這台機器沒有的",
  task_denied: "被拒絕的系統呼叫", task_network: "網路", task_exit: "結束代碼", task_signal: "訊號", task_retry_of: "重做", task_labels: "標籤", task_owner: "擁有者",
  task_none: "無", task_no_log: "沒有任何輸出。", task_no_log_yet: "尚無輸出。", task_log_truncated: "輸出超過上限，未全部保留。",
  task_download_log: "下載輸出", task_download_result: "下載結果", task_no_result: "沒有結果。", task_result_later: "任務結束後才有結果。",
  task_result_large: "結果有 {size}，請下載檢視。", task_search: "在輸出中搜尋", task_matches: "{n} 行", task_follow: "跟隨最新",
  task_log_more: "還有更多：請捲動，或", task_log_load: "載入更多", task_log_dropped: "開頭部分不再顯示；下載的檔案包含全部。",
  task_gone: "沒有這個編號的任務，或它不屬於您。", task_attempt_n: "第 {n} 次嘗試", task_last_attempt: "這是唯一的一次嘗試。", task_no_files: "沒有留下檔案。",
  task_traceback: "任務對失敗的說明", stream_both: "兩者", stream_stdout: "標準輸出", stream_stderr: "標準錯誤",

  mon_title: "監控", mon_range: "範圍", mon_15m: "15 分鐘", mon_6h: "6 小時", mon_24h: "24 小時", mon_7d: "7 天", mon_30d: "30 天",
  mon_cpu: "處理器", mon_cores: "各處理器", mon_load: "平均負載", mon_memory: "記憶體", mon_swap: "交換空間", mon_disk: "磁碟", mon_disk_io: "磁碟流量",
  mon_network: "網路", mon_interfaces: "網路介面", mon_pressure: "壓力：程式等待的時間比例", mon_temperature: "溫度", mon_tasks: "任務",
  mon_no_data: "這段時間沒有量測資料。", mon_not_here: "這台機器不提供。", mon_docker: "Docker", mon_vpn: "VPN", mon_off: "已關閉",

  logs_title: "節點日誌", logs_level: "等級", logs_error: "錯誤", logs_warning: "含警告", logs_info: "含資訊", logs_debug: "全部",
  logs_none: "沒有這個等級的紀錄。", logs_live: "即時", logs_search: "搜尋", logs_denied: "日誌包含所有人的任務名稱：僅限操作員。",

  set_title: "設定", set_password: "變更密碼", set_old: "舊密碼", set_new: "新密碼", set_new_hint: "至少 10 個字元", set_save: "儲存", set_saved: "密碼已變更。",
  set_sessions: "工作階段與權杖", set_name: "名稱", set_role: "角色", set_made: "建立", set_expires: "到期", set_used: "上次使用", set_never: "從未", set_revoke: "撤銷",
  set_revoke_sure: "要撤銷 {name} 嗎？使用者會立即被登出。", set_revoked: "已撤銷", set_new_token: "新權杖", set_token_name: "權杖名稱", set_token_days: "有效天數",
  set_token_once: "這是權杖，只顯示這一次：", set_make: "建立", set_users: "使用者", set_add_user: "新增使用者", set_disabled: "已停用", set_disable: "停用", set_enable: "啟用",
  set_remove: "移除", set_remove_sure: "要移除 {name} 及其所有權杖嗎？此名稱不會再次使用。", set_node: "節點", set_storage: "儲存空間", set_files: "{n} 個檔案，{size}，上限 {max}",
  set_open: "此節點以開發模式執行：沒有帳號。", set_config: "生效的設定與來源：hivemind-worker --show-config。檢查節點：hivemind doctor。",
  set_warnings: "節點無法做到的事", set_no_warnings: "沒有需要注意的事。", set_has_password: "已設密碼", set_audit: "最近的操作（稽核日誌）", set_what: "操作", set_who: "使用者", set_from: "來源", set_outcome: "結果",
  unit_d: "天", unit_h: "小時", unit_m: "分", unit_s: "秒", unit_ms: "毫秒", ago: "{time}前", now: "現在", in: "{time}後",
};
