//! The ceiling of the webhook benchmark: actix-web that reads the body and answers, nothing else.
//! `webhook_ceiling [PORT]` listens on loopback with as many workers as deploywatch has.

use actix_web::{App, HttpResponse, HttpServer, web};
use futures_util::StreamExt;

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(7310);
    HttpServer::new(|| App::new().route("/webhooks/lemonsqueezy", web::post().to(read)))
        .workers(2)
        .bind(("127.0.0.1", port))?
        .run()
        .await
}

async fn read(mut payload: web::Payload) -> HttpResponse {
    let mut body = Vec::new();
    while let Some(Ok(chunk)) = payload.next().await {
        body.extend_from_slice(&chunk);
    }
    HttpResponse::Ok().json(serde_json::json!({ "status": "stored", "bytes": body.len() }))
}
