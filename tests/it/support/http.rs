//! An HTTP client for loopback.

/// A client that goes straight to loopback, follows no redirect and gives up after ten seconds.
pub fn client() -> reqwest::Client {
    // reqwest without a built-in provider panics unless one is installed; a second call changes nothing.
    rustls::crypto::ring::default_provider().install_default().ok();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(std::time::Duration::from_secs(10))
        .build()
        .expect("a plain client can be made")
}

/// A form as a browser sends it.
pub trait Form {
    fn form(self, fields: &[(&str, &str)]) -> Self;
}

impl Form for reqwest::RequestBuilder {
    fn form(self, fields: &[(&str, &str)]) -> Self {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.header("content-type", "application/x-www-form-urlencoded").body(body)
    }
}
