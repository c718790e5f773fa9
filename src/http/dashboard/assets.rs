//! The sheet, the script and the icon, inside the program. Their addresses carry a digest of their content,
//! so that browsers may keep them for good.

use std::sync::LazyLock;

use actix_web::{HttpResponse, web};
use sha2::{Digest, Sha256};

/// Addresses for the templates.
#[derive(Debug, Clone)]
pub struct Assets {
    pub style: String,
    pub live: String,
    pub icon: String,
}

struct Asset {
    name: &'static str,
    content_type: &'static str,
    body: &'static str,
}

const STYLE: Asset = Asset {
    name: "style.css",
    content_type: "text/css; charset=utf-8",
    body: include_str!("assets/style.css"),
};
const LIVE: Asset = Asset {
    name: "live.js",
    content_type: "text/javascript; charset=utf-8",
    body: include_str!("assets/live.js"),
};
const ICON: Asset =
    Asset { name: "icon.svg", content_type: "image/svg+xml", body: include_str!("assets/icon.svg") };

/// The current addresses.
pub fn addresses() -> &'static Assets {
    static ASSETS: LazyLock<Assets> =
        LazyLock::new(|| Assets { style: address(&STYLE), live: address(&LIVE), icon: address(&ICON) });
    &ASSETS
}

/// `GET /assets/{digest}/{name}`
pub async fn asset(path: web::Path<(String, String)>) -> HttpResponse {
    let (_, name) = path.into_inner();
    let Some(asset) = [STYLE, LIVE, ICON].into_iter().find(|asset| asset.name == name) else {
        return HttpResponse::NotFound().finish();
    };
    HttpResponse::Ok()
        .content_type(asset.content_type)
        .insert_header(("Cache-Control", "public, max-age=31536000, immutable"))
        .insert_header(("X-Content-Type-Options", "nosniff"))
        .body(asset.body)
}

fn address(asset: &Asset) -> String {
    let digest = hex::encode(Sha256::digest(asset.body));
    format!("/assets/{}/{}", &digest[..12], asset.name)
}
