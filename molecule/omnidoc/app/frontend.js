// Copyright (c) 2026, the holdfast.ops authors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
// The page of the stand-in for OmniDoc, kept alive by PM2.
const http = require("http");

http
  .createServer((request, response) => {
    response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" });
    response.end("<!doctype html><title>OmniDoc</title><h1>OmniDoc</h1>\n");
  })
  .listen(3000, "127.0.0.1");
