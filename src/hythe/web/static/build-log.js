// Appends to the log of a running build; without scripts, the page has a link to refresh it.
"use strict";

const build = document.getElementById("build");
const log = document.getElementById("log");

if (build.dataset.events && window.EventSource) {
  const source = new EventSource(build.dataset.events);
  document.getElementById("refresh")?.remove();
  source.addEventListener("log", (event) => {
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(JSON.parse(event.data));
    if (atEnd) log.scrollTop = log.scrollHeight;
  });
  source.addEventListener("status", (event) => {
    const mark = document.querySelector("#build-status .build-status");
    mark.textContent = event.data;
    mark.className = `build-status build-${event.data}`;
  });
  // Reload to show the digest, the steps and the reason.
  source.addEventListener("end", () => {
    source.close();
    location.reload();
  });
}
