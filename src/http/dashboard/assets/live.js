// Refreshes the page in place while somebody looks at it. Without scripts a <noscript> refresh does the same.
(() => {
  const every = 5000, staleAfter = 30000;
  let last = Date.now();
  const banner = document.querySelector(".stale");
  const tick = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(location.href, { headers: { "X-Live": "1" }, redirect: "error" });
      if (!answer.ok) throw new Error(answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const [now, then] = [page.querySelector("main"), document.querySelector("main")];
      if (now && then && now.innerHTML !== then.innerHTML && !then.contains(document.activeElement)) {
        const open = [...then.querySelectorAll("details")].map((d) => d.open);
        now.querySelectorAll("details").forEach((d, i) => { d.open = open[i] ?? d.open; });
        then.replaceWith(now);
        document.title = page.title;
      }
      last = Date.now();
    } catch { /* shown by the banner */ }
    banner.classList.toggle("on", Date.now() - last > staleAfter);
  };
  setInterval(tick, every);
  document.addEventListener("visibilitychange", tick);
})();
