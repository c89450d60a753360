"use strict";

const POLL_MS = 1500;
const BUSY_POLL_MS = 500;
const RETRY_MS = 2000;

/** Sends decisions and asks for news, one request at a time, so that no answer is older than the one before. */
class Sync {
  constructor(backend, model, { onNews, onTrouble }) {
    this.backend = backend;
    this.model = model;
    this.onNews = onNews;
    this.onTrouble = onTrouble;
    this.wake = () => {};
    this.isBusy = false;
    this.isSending = false;
  }

  async run() {
    for (;;) {
      let pause = this.isBusy ? BUSY_POLL_MS : POLL_MS;
      try {
        if (this.model.unsent.length) {
          await this.send();
          this.onTrouble("");
          continue;
        }
        if (!document.hidden || !this.model.version) {
          const told = await this.backend.changes(this.model.version);
          this.isBusy = told.tasks.some((task) => task.status === "running" || task.status === "queued");
          this.onNews(told, this.model.take(told));
          this.onTrouble(told.problem || "");
        }
      } catch (error) {
        if (!(error instanceof BackendError)) throw error;
        this.onTrouble(error.message, error.status);
        pause = RETRY_MS;
      }
      await new Promise((resolve) => {
        this.wake = resolve;
        setTimeout(resolve, pause);
      });
    }
  }

  async send() {
    const batch = this.model.unsent.slice(0, 5000);
    this.isSending = true;
    try {
      await this.backend.decide(batch);
    } finally {
      this.isSending = false;
    }
    this.model.unsent.splice(0, batch.length);
  }
}
