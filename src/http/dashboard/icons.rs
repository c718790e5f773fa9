//! The few icons, drawn here so that nothing is fetched. Each stands beside a word.

macro_rules! icon {
    ($name:ident, $path:literal) => {
        pub const $name: &str =
            concat!("<svg class=\"icon\" viewBox=\"0 0 24 24\" aria-hidden=\"true\">", $path, "</svg>");
    };
}

pub const BRAND: &str = "<svg viewBox=\"0 0 32 32\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"3\" \
     stroke-linecap=\"round\" stroke-linejoin=\"round\" aria-hidden=\"true\">\
     <circle cx=\"16\" cy=\"16\" r=\"12.5\"/><path d=\"M9 17h4l2.5-6 4 10 2-4H24\"/></svg>";

icon!(CHECK, "<circle cx='12' cy='12' r='10'/><path d='m7.5 12.5 3 3 6-7'/>");
icon!(CROSS, "<circle cx='12' cy='12' r='10'/><path d='m8.5 8.5 7 7m0-7-7 7'/>");
icon!(WARNING, "<path d='M12 3 1.8 20.5h20.4zM12 10v4.5m0 3v.01'/>");
icon!(
    QUESTION,
    "<circle cx='12' cy='12' r='10'/><path d='M9 9.5a3 3 0 1 1 4.2 2.7c-.8.4-1.2 1-1.2 2m0 3v.01'/>"
);
icon!(CLOCK, "<circle cx='12' cy='12' r='10'/><path d='M12 6.5V12l3.5 2.5'/>");
icon!(DASH, "<circle cx='12' cy='12' r='10'/><path d='M8 12h8'/>");
icon!(KEY, "<circle cx='8' cy='15' r='4.5'/><path d='m11.2 11.8 9-9M16 7l3 3'/>");
