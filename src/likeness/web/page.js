// What the page does in the browser beyond Gradio: slider, players in step, paste, camera.
(() => {
  "use strict";

  // Before | after: a range input, so that mouse, touch and arrow keys move it.
  document.addEventListener("input", ({ target }) => {
    if (target.matches(".lk-slider input")) target.parentElement.style.setProperty("--at", `${target.value}%`);
  });

  // Both halves of a comparison come from one file, 2 w + 4 pixels wide, so that every browser shows the same two.
  for (const name of ["load", "loadedmetadata"]) {
    document.addEventListener(name, ({ target }) => {
      if (!target.matches?.(".lk-pair *")) return;
      const [width, height] = [target.videoWidth || target.naturalWidth, target.videoHeight || target.naturalHeight];
      target.style.aspectRatio = `${(width - 4) / 2} / ${height}`;
    }, true);
  }

  // Two players in step. Media events do not bubble, but they can be captured.
  const align = (player, other) => {
    const tolerance = player.paused ? 0.001 : 0.1; // seconds
    if (Math.abs(other.currentTime - player.currentTime) > tolerance) other.currentTime = player.currentTime;
  };
  const follow = {
    play: (player, other) => other.paused && other.play(),
    pause: (player, other) => { other.pause(); align(player, other); },
    seeking: align,
    ratechange: (player, other) => { other.playbackRate = player.playbackRate; },
    timeupdate: (player, other) => !player.matches(".lk-before") && align(player, other),
  };
  for (const [name, act] of Object.entries(follow)) {
    document.addEventListener(name, ({ target }) => {
      if (!target.matches(".lk-pair video")) return;
      act(target, [...target.closest(".lk-pair").querySelectorAll("video")].find((video) => video !== target));
    }, true);
  }

  // Results are found from this page alone.
  window.addEventListener("beforeunload", (event) => {
    if (document.querySelector("#lk-status[aria-busy=true], #lk-faces")) event.preventDefault();
  });

  // Files in the clipboard go where dropped ones go.
  document.addEventListener("paste", (event) => {
    const input = document.querySelector("#lk-files input[type=file]");
    if (!input || !event.clipboardData?.files.length) return;
    event.preventDefault();
    input.files = event.clipboardData.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });

  // Camera: a frame is taken when the one before has been restored, so that none waits and old ones are dropped.
  const part = (name) => document.querySelector(`#lk-camera-${name}`);
  const say = (text) => { part("status").textContent = text; };

  async function restored(canvas, address) {
    const body = new FormData();
    body.append("file", await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92)), "camera.jpg");
    body.append("options", JSON.stringify({ preset: "speed", upscale: 1, cards: 0, compare: "no" }));
    const answer = await fetch(address, { method: "POST", body });
    if (!answer.ok) throw new Error((await answer.json()).detail);
    return { picture: await answer.blob(), summary: answer.headers.get("X-Likeness-Summary") };
  }

  async function run(video, address) {
    const canvas = document.createElement("canvas");
    const begun = performance.now();
    let count = 0;
    while (video.srcObject?.active && video.checkVisibility()) {
      const taken = performance.now();
      [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
      canvas.getContext("2d").drawImage(video, 0, 0);
      const { picture, summary } = await restored(canvas, address);
      const image = part("result");
      URL.revokeObjectURL(image.src);
      image.src = URL.createObjectURL(picture);
      count += 1;
      const [delay, rate] = [(performance.now() - taken) / 1000, (1000 * count) / (performance.now() - begun)];
      const dropped = video.getVideoPlaybackQuality().totalVideoFrames - count;
      say(`${summary}. ${delay.toFixed(1)} s behind, ${rate.toFixed(1)} frames/s, ${dropped} frames dropped`);
    }
  }

  function stop() {
    part("before").srcObject?.getTracks().forEach((track) => track.stop());
    part("before").srcObject = null;
    part("toggle").textContent = "Start camera";
  }

  async function start() {
    const video = part("before");
    if (!navigator.mediaDevices) return say("The camera needs https, or a page on this machine.");
    say("Waiting for the camera");
    part("toggle").textContent = "Stop camera";
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 } } });
      await video.play();
      await run(video, part("toggle").dataset.address);
    } catch (error) {
      say(error.name === "NotFoundError" ? "No camera was found on this device." : error.message || error.name);
    }
    stop();
  }

  document.addEventListener("click", ({ target }) => {
    if (target.id === "lk-camera-toggle") part("before").srcObject ? stop() : start();
    if (target.closest("#lk-go, .lk-sample, #lk-include")) {
      document.querySelector("#lk-progress").scrollIntoView({ block: "center" });
    }
  });
})();
