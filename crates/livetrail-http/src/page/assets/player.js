// The player of one stream: low-latency HLS with hls.js, or HTTP-FLV with mpegts.js.
"use strict";

(() => {
  const HLS = "player/hls-1.7.4.min.js";
  const FLV = "player/mpegts-1.8.2.js";
  // Waiting times after a failure, in seconds.
  const RETRY = [1, 2, 4, 8, 15];

  const at = (id) => document.getElementById(id);
  const video = at("video");
  const query = new URLSearchParams(location.search);
  const isFlv = query.get("format") === "flv";
  query.delete("format");
  const path = location.pathname;
  const name = decodeURIComponent(path.split("/").slice(2).join("/"));
  // Measures how far the picture is behind live, in seconds, or undefined.
  let latency = () => undefined;
  let failures = 0;

  // Credentials in the address of the page are those of the stream.
  const address = (suffix) => {
    const text = query.toString();
    return path + suffix + (text ? `?${text}` : "");
  };

  const say = (text) => {
    if (at("state").textContent !== text) {
      at("state").textContent = text;
    }
  };

  const load = (src) =>
    new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = src;
      script.onload = done;
      script.onerror = () => failed(new Error("the player's program could not be loaded"));
      document.head.append(script);
    });

  const start = () => {
    // Who asked for less motion starts the video alone.
    if (matchMedia("(prefers-reduced-motion: reduce)").matches && !failures) {
      say("Ready. Press play.");
      return;
    }
    video.play().catch(() => say("Ready. Press play."));
  };

  // Calls `again` after a time that grows with each failure in a row.
  const later = (again) => {
    const seconds = RETRY[Math.min(failures, RETRY.length - 1)];
    failures += 1;
    say("The stream cannot be played at the moment. Trying again.");
    setTimeout(again, seconds * 1000);
  };

  const edgeOf = () => (video.buffered.length ? video.buffered.end(video.buffered.length - 1) : undefined);

  const refused = (status) => {
    if (status === 401 || status === 403) {
      say("You may not watch this stream.");
      return true;
    }
    return false;
  };

  const playHls = async () => {
    const url = address("/index.m3u8");
    await load(HLS);
    if (!Hls.isSupported()) {
      // Safari on iPhones plays HLS itself.
      video.src = url;
      start();
      return;
    }
    const hls = new Hls({
      lowLatencyMode: true,
      enableWorker: false,
      backBufferLength: 30,
      // A player that started or continued late plays a little faster until it is close to live.
      maxLiveSyncPlaybackRate: 1.1,
    });
    hls.on(Hls.Events.MANIFEST_PARSED, start);
    hls.on(Hls.Events.ERROR, (_, error) => {
      if (!error.fatal) {
        return;
      }
      if (error.type === Hls.ErrorTypes.MEDIA_ERROR) {
        hls.recoverMediaError();
      } else if (!refused(error.response && error.response.code)) {
        later(() => hls.loadSource(url));
      }
    });
    latency = () => {
      // By the dates in the playlist, if this computer's clock agrees with the server's.
      const date = hls.playingDate;
      const behind = date ? (Date.now() - date.getTime()) / 1000 : -1;
      if (behind >= 0 && behind < 600) {
        return behind;
      }
      return hls.latency || undefined;
    };
    at("edge").onclick = () => {
      if (hls.liveSyncPosition) {
        video.currentTime = hls.liveSyncPosition;
      }
      start();
    };
    hls.loadSource(url);
    hls.attachMedia(video);
  };

  const playFlv = async () => {
    await load(FLV);
    if (!mpegts.isSupported()) {
      say("This browser cannot play HTTP-FLV.");
      return;
    }
    const url = address(".flv");
    let player;
    const open = () => {
      if (player) {
        player.destroy();
      }
      player = mpegts.createPlayer({ type: "flv", isLive: true, url }, { liveSync: true });
      player.on(mpegts.Events.ERROR, (_, __, info) => {
        if (!refused(info && info.code)) {
          later(open);
        }
      });
      player.on(mpegts.Events.LOADING_COMPLETE, () => later(open));
      player.attachMediaElement(video);
      player.load();
      start();
    };
    latency = () => {
      const edge = edgeOf();
      return edge === undefined ? undefined : edge - video.currentTime;
    };
    at("edge").onclick = () => {
      const edge = edgeOf();
      if (edge !== undefined) {
        video.currentTime = edge - 0.5;
      }
      start();
    };
    open();
  };

  const showSound = () => {
    const isOn = !video.muted && video.volume > 0;
    at("sound").setAttribute("aria-pressed", String(isOn));
  };

  if (name) {
    at("name").textContent = name;
    document.title = `${name} – live`;
    video.setAttribute("aria-label", `Live stream ${name}`);
  }
  at("other").textContent = isFlv ? "Play over HLS" : "Play over HTTP-FLV";
  if (!isFlv) {
    query.set("format", "flv");
  }
  at("other").href = `?${query}`;
  query.delete("format");
  at("sound").onclick = () => {
    video.muted = !video.muted;
  };
  video.onvolumechange = showSound;
  video.onwaiting = () => say("Waiting for the stream");
  video.onplaying = () => {
    failures = 0;
    say("Playing");
  };
  video.onpause = () => say("Paused");
  video.onended = () => say("The stream has ended.");
  setInterval(() => {
    const seconds = video.paused ? undefined : latency();
    at("latency").value = seconds === undefined ? "not known" : `${seconds.toFixed(1)} s`;
  }, 1000);
  showSound();
  (isFlv ? playFlv() : playHls()).catch((error) => say(`The stream cannot be played: ${error.message}.`));
})();
